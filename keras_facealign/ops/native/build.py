"""Compiles the native library for a framework, once, into a cache.

The library is built against the XLA-FFI headers that TensorFlow and jaxlib include, so it needs
only a C++17 compiler (g++ or clang++; nvcc for CUDA). Its file name has a hash of everything that
it depends on: sources, headers, and compiler options, with the processor's vector instructions. So
a library that does not fit is never found.

This module needs only the standard library, since `setup.py` runs it before the package exists.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
INSTALLED = SOURCES / "built"  # libraries that were built by the installation
PACKAGES = {"tensorflow": "tensorflow", "jax": "jaxlib"}
HEADERS = ("c_api.h", "api.h", "ffi.h")
TIMEOUT = 600  # seconds

# Chosen by the processor's features instead of -march=native, since several computers may share a
# home folder.
LEVELS = {
    "avx512": (
        {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd", "fma", "f16c", "bmi2"},
        "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd -mfma -mf16c -mbmi2 "
        "-mprefer-vector-width=512",
    ),
    "avx2": ({"avx2", "fma", "f16c", "bmi2"}, "-mavx2 -mfma -mf16c -mbmi2"),
    "base": (set(), ""),
}
# The last entry is also compiled to PTX, for newer GPUs.
CUDA_ARCHITECTURES = ("80", "90")


class BuildError(RuntimeError):
    """Raised where there is no library and none can be built; the message says why."""


class UntrustedError(OSError):
    """Raised where another user could have put a file; the message says where, and what to do."""


@functools.cache
def source_tag() -> str:
    """Returns eight hexadecimal digits that identify the C++ and CUDA sources."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.glob("*")):
        if path.suffix in (".h", ".cc", ".cu", ".cuh"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]


@functools.cache
def cpu_level() -> str:
    """Returns the name of the best set of instructions in `LEVELS` that this processor has."""
    flags: set[str] = set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("flags"):
                flags = set(line.partition(":")[2].split())
                break
    return next(level for level, (needed, _) in LEVELS.items() if needed <= flags)


def find_headers(framework: str) -> Path | None:
    """Returns the include folder of a framework ("tensorflow" or "jax") without importing it."""
    spec = importlib.util.find_spec(PACKAGES[framework])
    for folder in (spec.submodule_search_locations or []) if spec else []:
        include = Path(folder) / "include"
        if all((include / "xla/ffi/api" / name).is_file() for name in HEADERS):
            return include
    return None


def _required_headers(framework: str) -> Path:
    include = find_headers(framework)
    if include is None:
        raise BuildError(
            f"no installed {PACKAGES[framework]} has the XLA-FFI headers "
            "(TensorFlow has them from 2.20 on)"
        )
    return include


def _find_cpu_compiler() -> str | None:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    return next(filter(None, map(shutil.which, names)), None)


def _find_nvcc() -> str | None:
    places = [shutil.which("nvcc")]
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(variable):
            places.append(shutil.which("nvcc", path=str(Path(os.environ[variable]) / "bin")))
    places.append(shutil.which("nvcc", path="/usr/local/cuda/bin"))
    return next(filter(None, places), None)


def compile_command(framework: str, device: str, output: Path) -> list[str]:
    """Returns the command that compiles the library.

    Args:
        framework: "tensorflow" or "jax".
        device: "cpu" or "cuda".
        output: File to write.

    Raises:
        BuildError: If headers or compiler are missing.
    """
    include = _required_headers(framework)
    if sys.platform == "win32":
        raise BuildError("Windows is not supported")
    tag = f'-DFACEALIGN_TAG="{source_tag()}"'
    common = ["-O3", "-std=c++17", "-shared", tag, "-isystem", str(include), "-I", str(SOURCES)]
    if device == "cuda":
        compiler = _find_nvcc()
        if compiler is None:
            raise BuildError("no CUDA compiler (nvcc) was found")
        targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in CUDA_ARCHITECTURES]
        newest = CUDA_ARCHITECTURES[-1]
        targets.append(f"-gencode=arch=compute_{newest},code=compute_{newest}")
        options = ["-Xcompiler=-fPIC,-fvisibility=hidden", *targets]
        return [compiler, *common, *options, str(SOURCES / "ffi_cuda.cu"), "-o", str(output)]
    compiler = _find_cpu_compiler()
    if compiler is None:
        raise BuildError("no C++ compiler was found (install g++ or clang++, or set CXX)")
    options = ["-fPIC", "-pthread", "-fvisibility=hidden", "-ffp-contract=fast"]
    options += LEVELS[cpu_level()][1].split()
    return [compiler, *common, *options, str(SOURCES / "ffi_cpu.cc"), "-o", str(output)]


def _file_name(framework: str, device: str) -> str:
    """Returns the library's name, equal for equal libraries; needs headers, but no compiler."""
    include = _required_headers(framework)
    digest = hashlib.sha256(source_tag().encode())
    for name in HEADERS:
        digest.update((include / "xla/ffi/api" / name).read_bytes())
    level = "-".join(CUDA_ARCHITECTURES) if device == "cuda" else cpu_level()
    digest.update(f"{sys.platform} {platform.machine()} {LEVELS[cpu_level()][1]}".encode())
    return f"deform-{framework}-{device}-{level}-{digest.hexdigest()[:16]}.so"


def cache_folder() -> Path:
    """Returns the folder of libraries in `KERAS_FACEALIGN_CACHE` or the user's cache folder."""
    chosen = os.environ.get("KERAS_FACEALIGN_CACHE")
    if chosen:
        return Path(chosen) / "native"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "keras_facealign" / "native"


def find_library(framework: str, device: str = "cpu") -> Path | None:
    """Finds a library that was built before and fits, or None.

    Raises:
        BuildError: If the framework's headers are missing, so no library can fit, or if another
            user could have written the library in the cache.
    """
    name = _file_name(framework, device)
    if (INSTALLED / name).is_file():
        return INSTALLED / name
    path = cache_folder() / name
    if not os.path.lexists(path):
        return None
    try:
        check_folder(path.parent)
        check_library(path)
    except OSError as error:
        raise BuildError(f"the compiled code is not trusted: {error}") from None
    return path


def check_folder(folder: Path) -> None:
    """Checks that only the user and root can create, replace or rename files of a folder.

    Raises:
        UntrustedError: If others can, or could replace the folder itself by one of theirs.
    """
    folder = Path(os.path.realpath(folder))
    _check_owner(folder, folder.stat(), stat.S_IWGRP | stat.S_IWOTH)
    for parent in folder.parents:
        about = parent.stat()
        # In a folder such as /tmp, which has the sticky bit, only their owners can rename entries.
        if not about.st_mode & stat.S_ISVTX:
            _check_owner(parent, about, stat.S_IWOTH)


def check_library(path: Path) -> None:
    """Checks that a file is the user's or root's own, no link, and not writable by others.

    Raises:
        UntrustedError: If it is not.
        OSError: If it cannot be opened, also as it is a link.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        about = os.fstat(handle)
    finally:
        os.close(handle)
    if not stat.S_ISREG(about.st_mode):
        raise UntrustedError(f"{path} is not a file; remove it")
    _check_owner(path, about, stat.S_IWGRP | stat.S_IWOTH)


def _check_owner(path: Path, about: os.stat_result, forbidden: int) -> None:
    if about.st_uid not in (0, os.geteuid()):
        raise UntrustedError(
            f"{path} belongs to user {about.st_uid}, who could put other code there; set "
            "KERAS_FACEALIGN_CACHE to a folder of your own"
        )
    if about.st_mode & forbidden:
        raise UntrustedError(
            f"other users can write to {path}; run chmod go-w, or set KERAS_FACEALIGN_CACHE to a "
            "folder of your own"
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on a file, so that processes that start together build once."""
    import fcntl

    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _create_cache(folder: Path) -> None:
    """Creates the cache's folder for the user alone, or checks that it is."""
    for missing in reversed([p for p in (folder, *folder.parents) if not p.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    check_folder(folder)


def build_library(framework: str, device: str = "cpu", folder: Path | None = None) -> Path:
    """Finds the library or builds it.

    Args:
        framework: "tensorflow" or "jax".
        device: "cpu" or "cuda".
        folder: Folder to build in, even if there is a library elsewhere; None for the cache.

    Returns:
        The library's path.

    Raises:
        BuildError: If it cannot be built.

    Example:
        >>> build_library("jax")  # doctest: +SKIP
        PosixPath('.../deform-jax-cpu-avx2-0123456789abcdef.so')
    """
    found = find_library(framework, device) if folder is None else None
    if found is not None:
        return found
    in_cache = folder is None
    folder = cache_folder() if folder is None else folder
    target = folder / _file_name(framework, device)
    compile_command(framework, device, target)  # fails early where there is no compiler
    try:
        if in_cache:
            _create_cache(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_suffix(".lock")):
            if not target.is_file():
                _compile(framework, device, target)
        if in_cache:
            check_library(target)
    except UntrustedError as error:
        raise BuildError(f"no code is compiled: {error}") from None
    except OSError as error:
        raise BuildError(f"cannot write to {folder} ({error}); set KERAS_FACEALIGN_CACHE") from None
    return target


def _compile(framework: str, device: str, target: Path) -> None:
    """Compiles under a temporary name and renames, so that no process loads a partial library."""
    # The lock is held, so what has this prefix is of programs that were killed.
    prefix = f".partial-{target.stem}-"
    for left in target.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent) as scratch:
        output = Path(scratch) / target.name
        command = compile_command(framework, device, output)
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise BuildError(f"{command[0]} took longer than {TIMEOUT} s") from None
        except subprocess.CalledProcessError as error:
            lines = [line for line in error.stderr.splitlines() if "error" in line]
            reason = lines[0] if lines else f"exit code {error.returncode}"
            raise BuildError(f"{command[0]} failed: {reason}") from None
        output.chmod(0o755)
        os.replace(output, target)
