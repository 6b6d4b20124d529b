"""Finds the packages, and compiles native code where the build environment allows it.

The library of deformable convolutions is compiled here only if the build environment has a C++
compiler and TensorFlow or JAX, whose headers it needs; pip's isolated builds have neither.
Otherwise the wheel is pure Python, and the library is compiled when it is first used. A failed
compilation does not fail the installation, and `KERAS_FACEALIGN_NATIVE=0` skips it.
"""

import importlib.util
import os
from pathlib import Path

from setuptools import Distribution, find_namespace_packages, setup
from setuptools.command.build_py import build_py

NATIVE = Path("keras_facealign", "ops", "native")
# Presets are at the top of the repository, where people look for them, and are installed inside the
# package, where `from_preset` finds them.
PRESETS = "keras_facealign.saved_models"


def load_native_build():
    """Loads the module that builds the library by its path, without importing the package."""
    path = Path(__file__).parent / NATIVE / "build.py"
    spec = importlib.util.spec_from_file_location("keras_facealign_native_build", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def buildable_frameworks():
    """Returns the frameworks for which the library can be compiled in this environment."""
    if os.environ.get("KERAS_FACEALIGN_NATIVE") == "0":
        return []
    try:
        build = load_native_build()
    except Exception as error:
        print(f"native code will be compiled at first use: {error}")
        return []
    found = []
    for framework in build.PACKAGES:
        try:
            build.compile_command(framework, "cpu", Path("unused"))
            found.append(framework)
        except Exception as error:
            print(f"native code for {framework} will be compiled at first use: {error}")
    return found


class BuildPythonAndNative(build_py):
    """Adds the libraries that can be compiled to the built package."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib) / NATIVE / "built"
        for framework in buildable_frameworks():
            try:
                library = load_native_build().build_library(framework, folder=folder.resolve())
                library.with_suffix(".lock").unlink()
            except Exception as error:
                print(f"native code for {framework} will be compiled at first use: {error}")


class MaybeNativeDistribution(Distribution):
    """Marks a wheel with compiled libraries as specific to the platform."""

    def has_ext_modules(self):
        return bool(buildable_frameworks())


code = find_namespace_packages(
    include=["keras_facealign", "keras_facealign.*", "tfds_builders", "tfds_builders.*"],
    exclude=["*.dummy_data", "*.dummy_data.*", "*.__pycache__", "*.built", "*.built.*"],
)
setup(
    packages=[*code, PRESETS],
    package_dir={PRESETS: "saved_models"},
    ext_modules=[],  # required where has_ext_modules returns True
    cmdclass={"build_py": BuildPythonAndNative},
    distclass=MaybeNativeDistribution,
)
