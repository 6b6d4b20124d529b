"""The package as it is installed: metadata, extras, and imports that stay light and TF-free."""

from __future__ import annotations

import configparser
import importlib
import importlib.metadata
import importlib.util
import json
import os
import pkgutil
import re
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import keras_facealign
from keras_facealign._opencv import check_opencv
from keras_facealign.errors import FaceAlignError

ROOT = Path(__file__).parents[1]

# Makes Python believe that packages are not installed.
HIDE = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_unless_hidden(name, path=None, target=None):
    return None if name.partition(".")[0] in {hidden!r} else find(name, path, target)
PathFinder.find_spec = staticmethod(find_unless_hidden)
"""


def run_python(code: str, **environment: str) -> str:
    """Runs code in a fresh interpreter that imports from this tree; returns what it prints."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def requirements(lines: str) -> list[Requirement]:
    return [Requirement(line) for line in lines.splitlines() if line and not line.startswith("#")]


def test_version_has_one_source(setup_cfg):
    assert setup_cfg["metadata"]["version"] == "attr: keras_facealign._version.__version__"
    assert str(Version(keras_facealign.__version__)) == keras_facealign.__version__


def test_citation_and_changelog_name_the_version():
    version = keras_facealign.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {version} - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_installed_version_is_this_one():
    try:
        installed = importlib.metadata.version("keras_facealign")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("keras_facealign is not installed, the tests run from the source tree")
    assert installed == keras_facealign.__version__


def test_requirements_parse_and_only_the_smallest_installation_has_upper_bounds(setup_cfg):
    extras = setup_cfg["options.extras_require"]
    lists = [setup_cfg["options"]["install_requires"], *extras.values()]
    found = [requirement for lines in lists for requirement in requirements(lines)]
    assert len(found) > len(lists)
    bounded = [r for r in found if {part.operator for part in r.specifier} - {">="}]
    # Later versions of these bring more megabytes along.
    assert bounded == [r for r in requirements(extras["litert"]) if not r.extras]
    assert [(r.name, {part.operator for part in r.specifier}) for r in bounded] == [
        ("ai-edge-litert", {">=", "<"}),
        ("typer", {"<"}),
    ]
    for requirement in found:
        if requirement.name == "keras_facealign":
            assert requirement.extras <= set(extras)
    assert setup_cfg["options"]["python_requires"] == ">=3.10"


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("linux", "x86_64", "tensorflow-cpu"),
        ("win32", "AMD64", "tensorflow-cpu"),
        ("linux", "aarch64", "tensorflow"),
        ("darwin", "arm64", "tensorflow"),
    ],
)
def test_one_tensorflow_wheel_for_each_platform(setup_cfg, system, machine, expected):
    wheels = requirements(setup_cfg["options.extras_require"]["tensorflow"])
    platform = {"sys_platform": system, "platform_machine": machine}
    assert [w.name for w in wheels if w.marker and w.marker.evaluate(platform)] == [expected]


def test_keras_comes_with_every_backend_and_not_without_one(setup_cfg):
    extras = setup_cfg["options.extras_require"]
    for backend in ("tensorflow", "gpu", "jax", "torch"):
        assert any("keras" in r.extras for r in requirements(extras[backend])), backend
    alone = requirements(setup_cfg["options"]["install_requires"] + extras["litert"])
    assert not {r.name for r in alone} & {"keras", "tensorflow", "matplotlib", "mtcnn"}
    assert {extra for r in alone for extra in r.extras} == {"opencv"}


def test_opencv_comes_with_the_extras_and_never_with_the_package(setup_cfg):
    extras = setup_cfg["options.extras_require"]
    assert "opencv" not in setup_cfg["options"]["install_requires"]
    for extra, lines in extras.items():
        names = {r.name for r in requirements(lines)}
        assert ("opencv-python-headless" in names) == (extra == "opencv")
    for extra in ("litert", "keras", "onnx"):
        assert any("opencv" in r.extras for r in requirements(extras[extra])), extra


class TestOpenCV:
    """What `check_opencv` finds in a folder where packages of OpenCV are installed."""

    @pytest.fixture
    def installed(self, tmp_path):
        def install(*names, works=True):
            for name in names:
                (tmp_path / f"{name.replace('-', '_')}-4.10.0.84.dist-info").mkdir()
            module = types.ModuleType("cv2")
            module.__path__ = [str(tmp_path / "cv2")]
            if works:
                module.imread = print  # type: ignore[attr-defined]
            return module

        return install

    @pytest.mark.parametrize("name", ["opencv-python", "opencv-contrib-python-headless"])
    def test_one_is_fine(self, installed, name):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_opencv(installed(name))
            check_opencv(types.ModuleType("cv2"))

    def test_two_are_named_with_the_remedy(self, installed):
        module = installed("opencv-python", "opencv-python-headless", "numpy")
        both = "opencv-python and opencv-python-headless are installed together.*pip uninstall"
        with pytest.warns(UserWarning, match=both):
            check_opencv(module)

    def test_what_a_removal_left_behind_is_named_with_the_remedy(self, installed, tmp_path):
        remedy = "pip install --force-reinstall --no-deps opencv-python"
        with pytest.raises(FaceAlignError, match=f"left behind.*{remedy}$"):
            check_opencv(installed("opencv-python", works=False))
        next(tmp_path.glob("*.dist-info")).rmdir()
        with pytest.raises(FaceAlignError, match=f"left behind.*{remedy}-headless$"):
            check_opencv(installed(works=False))

    def test_a_missing_one_is_reported_with_the_remedy(self):
        code = HIDE.format(hidden={"cv2"}) + (
            "import keras_facealign\n"
            "try:\n"
            "    keras_facealign.FaceAligner\n"
            "except ModuleNotFoundError as error:\n"
            "    print(error.name, error)\n"
        )
        assert re.match(
            r"cv2 .*needs OpenCV.*keras_facealign\[opencv\].*opencv-python", run_python(code)
        )


def test_a_misspelt_backend_is_one_line():
    code = (
        "import keras_facealign, keras_facealign.cli\n"
        "for ask in ('from_preset', 'SATFaceAlign'):\n"
        "    try:\n"
        "        getattr(keras_facealign, ask)\n"
        "    except keras_facealign.FaceAlignError as error:\n"
        "        print(error)\n"
        "import sys; sys.stderr = sys.stdout\n"
        "print(keras_facealign.cli.main(['card', 'sat1_cab_mobile']))\n"
    )
    *lines, code = run_python(code, KERAS_BACKEND="tensorflwo").splitlines()
    assert (len(lines), code) == (3, "2")
    for line in lines:
        assert re.search(r"KERAS_BACKEND is 'tensorflwo'.*to tensorflow, jax or torch$", line)


def test_console_command_resolves(setup_cfg):
    line = setup_cfg["options.entry_points"]["console_scripts"].strip()
    name, _, target = (part.strip() for part in line.partition("="))
    module, _, attribute = target.partition(":")
    assert name == "keras-facealign"
    assert callable(getattr(importlib.import_module(module), attribute))


def test_public_names_resolve_and_unknown_ones_do_not():
    for name in keras_facealign.__all__:
        assert getattr(keras_facealign, name) is not None, name
    assert dir(keras_facealign) == sorted(keras_facealign.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        keras_facealign.no_such_name  # noqa: B018


def test_an_import_that_fails_says_why(tmp_path, monkeypatch):
    """Such as that of Keras beside a folder whose name is that of a package it looks for."""
    package = tmp_path / "lazily"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from keras_facealign._lazy import attach\n"
        "__getattr__, _ = attach(__name__, {'broken': ('thing',)})\n"
    )
    (package / "broken.py").write_text("import types\ntypes.monitoring\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"lazily.thing cannot .* has no attribute 'monitoring'"):
        from lazily import thing  # noqa: F401  # pyright: ignore[reportMissingImports]


def test_import_loads_no_backend():
    code = "import keras_facealign, json, sys; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(run_python(code)))
    assert "keras_facealign._lazy" in loaded
    assert not loaded & {"keras", "tensorflow", "jax", "torch", "numpy", "cv2", "mtcnn"}


def test_photos_and_videos_need_no_keras():
    hidden = {"keras", "tensorflow", "jax", "torch", "matplotlib", "openvino", "mtcnn"}
    code = HIDE.format(hidden=hidden) + (
        "import numpy as np, sys, keras_facealign as kf\n"
        "import keras_facealign.cli.app, keras_facealign.video.reading\n"
        "import keras_facealign.formats.coco, keras_facealign.runtimes.metadata\n"
        "kf.FaceTracker, kf.list_presets(), kf.get_scheme('ibug68')\n"
        "class Center:\n"
        "    input_size = 64\n"
        "    def predict_landmarks(self, images, batch_size):\n"
        "        shape = (len(images), 5)\n"
        "        return np.full((*shape, 2), 31.5, 'float32'), np.ones(shape, 'float32')\n"
        "photo = np.zeros((90, 80, 3), 'uint8')\n"
        "(face,) = kf.FaceAligner(Center(), None).align(photo, boxes=(10, 20, 50, 60))\n"
        "assert not {name.partition('.')[0] for name in sys.modules} & " + repr(hidden) + "\n"
        "for ask in (lambda: kf.FaceAlignModel, lambda: kf.from_preset('sat1_cab_mobile')):\n"
        "    try:\n"
        "        ask()\n"
        "    except ModuleNotFoundError as error:\n"
        "        print(error)\n"
        "print(face.landmarks[0].round(3).tolist())\n"
    )
    *reasons, landmark = run_python(code).splitlines()
    assert landmark == "[30.0, 40.0]"
    assert len(reasons) == 2
    assert (
        "FaceAlignModel needs Keras" in reasons[0] and "keras_facealign[tensorflow]" in reasons[0]
    )


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_every_module_imports_without_tensorflow(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    names = [
        module.name
        for module in pkgutil.walk_packages(keras_facealign.__path__, "keras_facealign.")
        # A binding of native code belongs to one framework and is imported by that one's users.
        if "saved_models" not in module.name and not module.name.endswith("_binding")
    ]
    assert len(names) > 10
    hidden = {"tensorflow", "tensorflow_datasets", "tensorboard", "mtcnn"}
    code = HIDE.format(hidden=hidden) + (
        "import importlib, keras\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "import sys; assert 'tensorflow' not in sys.modules\n"
        "print(keras.backend.backend())\n"
    )
    assert run_python(code, KERAS_BACKEND=backend).strip() == backend
