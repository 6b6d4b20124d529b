"""Compiling, caching and doing without: nothing that goes wrong here may break a user's program."""

import json
import os
import stat
import subprocess
import sys

import pytest

from keras_facealign.ops import native
from keras_facealign.ops.native import build
from tests.paths import ROOT

HAS_JAX = build.find_headers("jax") is not None
HAS_COMPILER = build._find_cpu_compiler() is not None
needs_jax = pytest.mark.skipif(not HAS_JAX, reason="jaxlib is not installed")
needs_compiler = pytest.mark.skipif(
    not (HAS_JAX and HAS_COMPILER), reason="jaxlib or a C++ compiler is missing"
)


def in_fresh_process(code, **environment):
    """Runs code on the JAX backend; it prints one JSON value, which is returned with warnings."""
    variables = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=variables, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


ASK = """
import json
from keras_facealign.ops import native
print(json.dumps([native.available("jax"), native.available("jax"), native.available("torch")]))
"""


@needs_jax
def test_without_a_compiler_there_is_one_clear_warning(tmp_path):
    answer, warned = in_fresh_process(
        ASK, CXX="no-such-compiler", KERAS_FACEALIGN_CACHE=str(tmp_path)
    )
    assert answer == [False, False, False]
    assert warned.count("UserWarning") == 1
    assert "no C++ compiler was found (install g++ or clang++, or set CXX)" in warned


@needs_jax
def test_a_compiler_that_fails_is_quoted(tmp_path):
    compiler = tmp_path / "compiler"
    compiler.write_text("#!/bin/sh\necho 'a.cc:1: error: no such luck' >&2\nexit 1\n")
    compiler.chmod(0o755)
    answer, warned = in_fresh_process(ASK, CXX=str(compiler), KERAS_FACEALIGN_CACHE=str(tmp_path))
    assert answer == [False, False, False]
    assert "failed: a.cc:1: error: no such luck" in warned


@needs_jax
def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    obstacle = tmp_path / "file"
    obstacle.write_text("")
    answer, warned = in_fresh_process(ASK, KERAS_FACEALIGN_CACHE=str(obstacle))
    assert not answer[0]
    # Where there is no compiler either, that is found out first.
    assert "set KERAS_FACEALIGN_CACHE" in warned or "no C++ compiler" in warned


@needs_compiler
def test_a_broken_library_does_not_break_the_program(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_FACEALIGN_CACHE", str(tmp_path))
    library = build.cache_folder() / build._file_name("jax", "cpu")
    library.parent.mkdir()
    library.write_bytes(b"\x7fELF this is no library")
    answer, warned = in_fresh_process(ASK)
    assert answer == [False, False, False]
    assert "Deformable convolutions use the slower portable implementation on jax" in warned


@needs_jax
def test_it_can_be_turned_off_without_a_word():
    answer, warned = in_fresh_process(ASK, KERAS_FACEALIGN_NATIVE="0", CXX="no-such-compiler")
    assert answer == [False, False, False]
    assert "UserWarning" not in warned


@needs_compiler
def test_jax_computes_with_it_in_a_fresh_process():
    """Under jit, grad and vmap, on the JAX backend whatever backend the other tests run on."""
    code = """
import json, jax, numpy as np
from keras_facealign.ops import deform_conv2d, native
assert native.fused("jax")
rng = np.random.default_rng(0)
inputs, offsets, kernel = (rng.normal(size=s).astype("float32")
                           for s in ((3, 6, 5, 4), (3, 6, 5, 18), (3, 3, 4, 7)))
def loss(implementation):
    def compute(*tensors):
        result = deform_conv2d(*tensors, implementation=implementation)
        return (result ** 2).sum()
    return jax.jit(jax.value_and_grad(compute, (0, 1, 2)))
pairs = [jax.tree.leaves(loss(i)(inputs, offsets, kernel)) for i in ("native", "portable")]
errors = [float(abs(a - b).max() / abs(b).max()) for a, b in zip(*pairs)]
arguments = dict(strides=(1, 1), pads=(1, 1), dilation_rate=(1, 1), groups=1,
                 deformable_groups=1, border="zeros")
one = lambda x, o: native.conv2d(x[None], o[None], None, kernel, **arguments)[0]
batch = native.conv2d(inputs, offsets, None, kernel, **arguments)
errors.append(float(abs(jax.vmap(one)(inputs, offsets) - batch).max()))
print(json.dumps(errors))
"""
    errors, _ = in_fresh_process(code)
    assert len(errors) == 5
    assert max(errors) < 1e-5


@needs_compiler
def test_processes_that_start_together_build_once(tmp_path):
    """Both find a whole library, made by one of them."""
    compiler = tmp_path / "compiler"
    compiler.write_text(f'#!/bin/sh\necho once >> {tmp_path}/log\nsleep 1\nexec g++ -O0 "$@" -O0\n')
    compiler.chmod(0o755)
    code = (
        "from keras_facealign.ops.native import build; import ctypes;"
        "ctypes.CDLL(str(build.build_library('jax'))).facealign_sample"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CXX": str(compiler)}
    environment |= {"KERAS_FACEALIGN_CACHE": str(tmp_path), "KERAS_BACKEND": "jax"}
    running = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(2)]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    assert (tmp_path / "log").read_text() == "once\n"
    left = sorted(p.suffix for p in (tmp_path / "native").iterdir())
    assert left == [".lock", ".so"]


def test_the_file_name_changes_with_what_the_library_depends_on(monkeypatch):
    if not HAS_JAX:
        pytest.skip("jaxlib is not installed")
    level = build.cpu_level()
    names = {build._file_name("jax", "cpu"), build._file_name("jax", "cuda")}
    monkeypatch.setattr(build, "source_tag", lambda: "0123abcd")
    names.add(build._file_name("jax", "cpu"))
    monkeypatch.setattr(build, "cpu_level", lambda: "base" if level != "base" else "avx2")
    names.add(build._file_name("jax", "cpu"))
    assert len(names) == 4


@needs_jax
def test_the_file_name_is_the_same_in_every_process():
    code = (
        "import json; from keras_facealign.ops.native import build;"
        "print(json.dumps(build._file_name('jax', 'cpu')))"
    )
    assert {in_fresh_process(code, PYTHONHASHSEED=seed)[0] for seed in "12"} == {
        build._file_name("jax", "cpu")
    }


def test_unknown_backends_have_none():
    assert not native.available("torch")
    assert not native.fused("numpy")


@pytest.mark.slow
@pytest.mark.parametrize(
    "framework", [pytest.param("jax", marks=pytest.mark.thorough), "tensorflow"]
)
def test_cuda_sources_compile(framework, tmp_path):
    """For sm_80 and sm_90. This says that they compile, not that they compute."""
    if build._find_nvcc() is None or build.find_headers(framework) is None:
        pytest.skip(f"nvcc or {framework} is missing")
    library = build.build_library(framework, "cuda", tmp_path)
    assert library.stat().st_size > 100_000
    content = library.read_bytes()
    for symbol in (b"facealign_sample_gradient", b"facealign_register", b"sm_80", b"sm_90"):
        assert symbol in content


# A library of the installation is taken without looking into the cache.
IGNORE_INSTALLED = """
import json, pathlib
from keras_facealign.ops.native import build
build.INSTALLED = pathlib.Path("nothing")
"""


def give_away(path, monkeypatch):
    """Makes a path another user's, as the program sees it."""
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(build.os, "geteuid", lambda: os.getuid() + 1)


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A library in a cache that is the user's alone; nothing ever loads it."""
    if not HAS_JAX or os.name == "nt":
        pytest.skip("jaxlib is not installed, or no POSIX system")
    monkeypatch.setenv("KERAS_FACEALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "INSTALLED", tmp_path / "nothing")
    path = build.cache_folder() / build._file_name("jax", "cpu")
    build._create_cache(path.parent)
    path.write_bytes(b"planted")
    path.chmod(0o644)
    return path


def test_the_cache_is_the_users_alone(cached):
    assert build.find_library("jax") == cached
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (cached.parent, cached.parent.parent)]
    assert modes == [0o700, 0o700]


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_cache_that_others_can_write_to_is_refused(mode, cached):
    cached.parent.chmod(mode)
    for call in (build.find_library, lambda name: build._create_cache(cached.parent)):
        with pytest.raises((build.BuildError, build.UntrustedError), match="chmod go-w"):
            call("jax")


def test_a_cache_below_a_folder_that_others_can_write_to_is_refused(cached):
    cached.parent.parent.chmod(0o777)
    with pytest.raises(build.BuildError, match="cache; run chmod go-w"):
        build.find_library("jax")
    cached.parent.parent.chmod(0o1777)  # as /tmp, where nobody can rename what is another's
    assert build.find_library("jax") == cached


@pytest.mark.parametrize("what", ["folder", "library"])
def test_what_another_user_owns_is_refused(what, cached, monkeypatch):
    give_away(cached.parent if what == "folder" else cached, monkeypatch)
    with pytest.raises(build.BuildError, match="belongs to user .* a folder of your own"):
        build.find_library("jax")


def test_a_library_that_is_a_link_or_writable_is_refused(cached):
    cached.chmod(0o666)
    with pytest.raises(build.BuildError, match="other users can write"):
        build.find_library("jax")
    real = cached.with_name("real")
    cached.rename(real)
    for target in (real, cached.parent / "nowhere"):
        cached.symlink_to(target)
        with pytest.raises(build.BuildError, match="not trusted: .*symbolic links"):
            build.find_library("jax")
        cached.unlink()
    cached.mkdir()
    with pytest.raises(build.BuildError, match="is not a file"):
        build.find_library("jax")


def test_a_link_in_the_place_of_the_lock_is_not_followed(cached):
    victim = cached.parent / "victim"
    victim.write_text("precious")
    lock = cached.with_suffix(".lock")
    lock.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"), build._locked(lock):
        pytest.fail("the link was followed")
    assert victim.read_text() == "precious"


def test_an_untrusted_cache_leaves_the_portable_path(cached, monkeypatch):
    cached.parent.chmod(0o777)
    answer, warned = in_fresh_process(ASK.replace("import json\n", IGNORE_INSTALLED))
    assert answer == [False, False, False]
    assert warned.count("UserWarning") == 1
    assert "other users can write to" in warned and "slower portable implementation" in warned


def test_scraps_of_killed_compilers_go(cached, monkeypatch):
    left = cached.parent / f".partial-{cached.stem}-left"
    (left / "deep").mkdir(parents=True)
    monkeypatch.setattr(build, "compile_command", lambda *words: ["true"])
    with pytest.raises(OSError):  # as "true" compiles nothing
        build._compile("jax", "cpu", cached)
    assert sorted(p.name for p in cached.parent.iterdir()) == [cached.name]
