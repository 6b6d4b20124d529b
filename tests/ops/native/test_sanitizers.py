"""The CPU kernels under the sanitizers for addresses, undefined behavior and threads."""

import shutil
import subprocess
from pathlib import Path

import pytest

from keras_facealign.ops.native import build

DRIVER = Path(__file__).with_name("sanitizer_driver.cc")
COMPILER = shutil.which("g++") or shutil.which("clang++")


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
@pytest.mark.parametrize(
    "sanitizers, level",
    [
        ("address,undefined", build.cpu_level()),
        pytest.param("address,undefined", "base", marks=pytest.mark.thorough),
        ("thread", "base"),
    ],
)
def test_kernels_stay_within_their_buffers(tmp_path, sanitizers, level):
    program = tmp_path / "driver"
    # Checks of addresses take long to compile, those of threads to run.
    optimization = "-Og" if sanitizers == "thread" else "-O0"
    command = [COMPILER, "-std=c++17", optimization, "-g1", "-pthread", "-I", str(build.SOURCES)]
    command += [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    command += [*build.LEVELS[level][1].split(), str(DRIVER), "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in built.stderr and "san" in built.stderr:
        pytest.skip(f"the compiler comes without {sanitizers}: {built.stderr.splitlines()[0]}")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([program, "24"], capture_output=True, text=True, timeout=300)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer does not work with this kernel's address layout")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("24 cases")
