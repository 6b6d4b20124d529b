"""The tests mirror the package: `tests/a/test_b.py` tests `keras_facealign/a/b.py`."""

from __future__ import annotations

from pathlib import Path

from tests.paths import ROOT, TESTS

PACKAGE = ROOT / "keras_facealign"

# Tests of what is no module of the package, by folder or file under tests/.
OTHERS = {
    "benchmarks": "tests of benchmarks/",
    "examples": "tests of examples/",
    "converters/mxnet/test_fuzz.py": "damaged files, through all readers",
    "evaluation/test_golden.py": "published predictions, through all of evaluation",
    "fuzz/test_readers.py": "damaged files, through all readers",
    "inference/test_threads.py": "threads and processes, through detection, runtimes and video",
    "layers/test_blocks.py": "what all building blocks have in common",
    "layers/test_topologies.py": "what hourglass, U-Net and grids have in common",
    "ops/native/test_native.py": "the compiled library, through its bindings",
    "ops/native/test_sanitizers.py": "the compiled library under sanitizers",
    "presets/test_calibration.py": "calibration files inside presets",
}

# Rooms that read or write the user's files: each module there has tests of its own, or these.
READERS = ("data", "formats", "storage")
ELSEWHERE = {
    "data/readers/image_pairs.py": "data/readers/test_lfw.py",
    "storage/presets.py": "presets/test_models.py",
}


def test_files() -> list[Path]:
    return sorted(path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))


# It collects, it is no test.
test_files.__test__ = False  # type: ignore[attr-defined]


def test_every_test_file_is_named_after_a_module():
    strays = []
    for path in test_files():
        if len(path.parts) == 1 or path.as_posix() in OTHERS or path.parts[0] in OTHERS:
            continue  # files directly in tests/ test the package as a whole
        name = path.name.removeprefix("test_")
        if not any((PACKAGE / path.with_name(n)).is_file() for n in (name, f"_{name}")):
            strays.append(path.as_posix())
    assert not strays, f"no module of that name, and not in OTHERS: {strays}"


def test_every_folder_of_the_package_has_tests():
    folders = {
        path.parent.relative_to(PACKAGE)
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    }
    tested = {path.parent for path in test_files()}
    assert not folders - tested


def test_every_module_that_handles_files_has_tests():
    untested = []
    for room in READERS:
        for path in (PACKAGE / room).rglob("*.py"):
            module = path.relative_to(PACKAGE)
            name = ELSEWHERE.get(
                module.as_posix(), (module.parent / f"test_{module.name}").as_posix()
            )
            if path.name != "__init__.py" and not (TESTS / name).is_file():
                untested.append(module.as_posix())
    assert not untested, f"without a test file of that name: {untested}"
