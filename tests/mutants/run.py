"""Plants faults in the package and checks that the tests beside it notice them.

    python tests/mutants/run.py --count 100 --seed 0 --jobs 2

A mutant is a copy of the package in which one operator, constant, argument or function differs. The
tests of the changed module run against each, up to the first failure; a mutant that passes them all
has survived. The table at the end lists the survivors, with the reason for those that nothing can
tell from the original (`EQUIVALENT`), and the script's exit status is 1 if there are others.

Mutants run in forks of one process that has imported the backend, so that each takes seconds.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parents[2]

# Module: its test files, fastest first.
TARGETS = {
    "geometry/affine.py": ["geometry/test_affine.py"],
    "geometry/boxes.py": ["geometry/test_boxes.py"],
    "geometry/crops.py": ["geometry/test_crops.py"],
    "ops/heatmap.py": ["ops/test_heatmap.py"],
    "ops/warp.py": ["ops/test_warp.py"],
    "ops/deform_sampling.py": ["ops/test_deform_conv.py"],
    "objective/metrics.py": ["objective/test_metrics.py"],
    "objective/losses.py": ["objective/test_losses.py"],
    "evaluation/measures.py": ["evaluation/test_measures.py"],
    "evaluation/normalizers.py": ["evaluation/test_normalizers.py", "evaluation/test_measures.py"],
    "inference/aligner.py": ["inference/test_aligner.py"],
    "prediction/flip_test.py": ["prediction/test_flip_test.py"],
}

# Mutants that behave as the original does, as "module: original -> mutant", with the reason.
_MARGIN = "moves the margin of two pixels and more around what the crop reads by one pixel"
_SAME_NUMBERS = "both ways to compute it give the same numbers"
EQUIVALENT: dict[str, str] = {
    "geometry/crops.py: math.ceil(math.log2(_SAFE_SCALE / math.hypot(matrix[0, 0], matrix[1, 0])) "
    "- 1e-09) -> math.ceil(math.log2(_SAFE_SCALE / math.hypot(matrix[0, 0], matrix[1, 0])) + "
    "1e-09)": "differs at scales of exactly a half, a quarter ... of the safe one",
    "geometry/crops.py: (corners.min(axis=0) - block, corners.max(axis=0) + block + 1) -> "
    "(corners.min(axis=0) - block, corners.max(axis=0) + block - 1)": _MARGIN,
    "geometry/crops.py: max(block, math.ceil(high)) -> max(block, math.floor(high))": _MARGIN,
    "geometry/crops.py: math.ceil((end - min(low, end - 1)) / block) -> math.floor((end - min(low, "
    "end - 1)) / block)": _MARGIN,
    "geometry/crops.py: math.ceil((end - min(low, end - 1)) / block) -> math.ceil((end - min(low, "
    "end - 1)) * block)": "more of the picture is reduced than the crop reads",
    "ops/heatmap.py: heatmaps.shape[1] -> heatmaps.shape[2]": "heatmaps are square",
    "ops/heatmap.py: xp.logical_and(det > 1e-12, dxx < 0) -> xp.logical_and(det >= 1e-12, "
    "dxx < 0)": "nothing is special about that determinant",
    "ops/warp.py: ops.logical_and(y >= -tolerance, y <= source_size[0] - 1 + tolerance) -> "
    "ops.logical_and(y >= -tolerance, y < source_size[0] - 1 + tolerance)": (
        "nothing is special about the last place within the tolerance"
    ),
    "ops/deform_sampling.py: position >= -1.0 if border == 'zeros' else position >= 0.0 -> "
    "position > -1.0 if border == 'zeros' else position >= 0.0": "the weight is 0 at -1",
    "ops/deform_sampling.py: lines[0] -> lines[1]": "the arrays of the four corners have one shape",
    "ops/deform_sampling.py: channels >= _LEAST_CHANNELS and filters <= channels -> channels > "
    "_LEAST_CHANNELS and filters <= channels": _SAME_NUMBERS,
    "ops/deform_sampling.py: channels >= _LEAST_CHANNELS and filters <= channels -> channels >= "
    "_LEAST_CHANNELS or filters <= channels": _SAME_NUMBERS,
    "ops/deform_sampling.py: True -> False": "`strict`, of sequences that are of one length",
    "objective/metrics.py: (..., 0) -> (..., 1)": "only the shape is read",
    "objective/metrics.py: ops.maximum(number, 1.0) -> ops.maximum(number, 2.0)": (
        "one landmark has no length to divide its error by"
    ),
    "objective/losses.py: ops.where(ops.reshape(flip, (-1, 1, 1, 1)) > 0.5, swapped, moved) -> "
    "ops.where(ops.reshape(flip, (-1, 1, 1, 1)) >= 0.5, swapped, moved)": "a flip is 0 or 1",
    "evaluation/measures.py: np.where(labeled, errors.shape[-1], 0) -> np.where(labeled, "
    "errors.shape[-1], 1)": "a face without labels has NaN in any case",
    "evaluation/normalizers.py: np.isfinite(points.sum()) -> np.isfinite(points.mean())": (
        "the mean is finite where the sum is"
    ),
    "inference/aligner.py: 32 -> 33": "how many faces the network gets at a time changes no result",
    "inference/aligner.py: rated.max() >= 0 -> rated.max() > 0": "nothing is special about a 0",
    "inference/aligner.py: item.crop.shape[0] -> item.crop.shape[1]": "crops are square",
    "inference/aligner.py: sized and len(boxes) == 4 and all((isinstance(v, (Real, np.number)) for "
    "v in boxes)) -> sized and len(boxes) == 4 and any((isinstance(v, (Real, np.number)) for v in "
    "boxes))": "boxes mixed with numbers are refused in any case",
    "prediction/flip_test.py: (0.0, 0.0) -> (0.0, 1.0)": "a flip does not change dy",
    "prediction/flip_test.py: flipped * [-1.0, 1.0] + [width - 1.0 + 2.0 * offset[0], 0.0] -> "
    "flipped / [-1.0, 1.0] + [width - 1.0 + 2.0 * offset[0], 0.0]": "1 / -1 is -1",
}

_COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}  # fmt: skip
_PAIRS = [
    ("min", "max"), ("minimum", "maximum"), ("amin", "amax"), ("floor", "ceil"), ("cos", "sin"),
    ("logical_and", "logical_or"), ("sum", "mean"), ("any", "all"), ("argmin", "argmax"),
    ("zeros_like", "ones_like"),
]  # fmt: skip
_FUNCTIONS = dict(_PAIRS) | {b: a for a, b in _PAIRS}
# Functions whose first two arguments have different roles.
_ORDERED = ("compose", "where", "divide_no_nan", "atan2", "transform_points", "crop_face")


@dataclass(frozen=True)
class Mutant:
    """One fault: the place of a node in `ast.walk` order and which of its faults it gets."""

    module: str
    line: int
    text: str
    source: str

    def __str__(self) -> str:
        return f"{self.module}: {self.text}"


def faults(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the wrong versions of a node."""
    changed = copy.deepcopy(node)
    if isinstance(changed, ast.Compare) and type(changed.ops[0]) in _COMPARED:
        changed.ops[0] = _COMPARED[type(changed.ops[0])]()
        yield changed
    elif isinstance(changed, ast.BinOp) and type(changed.op) in _COMPUTED:
        changed.op = _COMPUTED[type(changed.op)]()
        yield changed
    elif isinstance(changed, ast.UnaryOp) and not isinstance(changed.operand, ast.Constant):
        yield changed.operand
    elif isinstance(changed, ast.BoolOp):
        changed.op = ast.Or() if isinstance(changed.op, ast.And) else ast.And()
        yield changed
    elif isinstance(changed, ast.Constant):
        if isinstance(changed.value, bool):
            yield ast.Constant(not changed.value)
        elif isinstance(changed.value, (int, float)):
            yield ast.Constant(changed.value + 1)
    elif isinstance(changed, ast.Call):
        name = changed.func
        if isinstance(name, ast.Attribute) and name.attr in _FUNCTIONS:
            name.attr = _FUNCTIONS[name.attr]
            yield changed
        elif isinstance(name, ast.Name) and name.id in _FUNCTIONS:
            name.id = _FUNCTIONS[name.id]
            yield changed
        else:
            called = name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "")
            if called in _ORDERED and len(changed.args) > 1:
                order = (0, 2, 1) if called == "where" and len(changed.args) == 3 else (1, 0)
                changed.args[: len(order)] = [changed.args[i] for i in order]
                yield changed


class _Collect(ast.NodeVisitor):
    """Lists the nodes whose faults change what the module computes."""

    def __init__(self) -> None:
        self.found: list[tuple[ast.AST, str, int | None, ast.AST]] = []

    def generic_visit(self, node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for index, child in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(child, ast.AST):
                    self.found.append(
                        (node, name, index if isinstance(value, list) else None, child)
                    )
                    self.visit(child)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Words of error messages are not arithmetic."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Neither are other texts."""

    def visit_Import(self, node: ast.AST) -> None:
        """Nothing to change."""

    visit_ImportFrom = visit_Import

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.generic_visit(node)


def mutants(module: str) -> list[Mutant]:
    """Lists all mutants of a module of the package."""
    tree = ast.parse((ROOT / "keras_facealign" / module).read_text(encoding="utf-8"))
    collect = _Collect()
    collect.visit(tree)
    made = []
    for parent, name, index, node in collect.found:
        for changed in faults(node):
            part = parent if isinstance(parent, ast.expr) else node
            before = ast.unparse(part)
            _put(parent, name, index, changed)
            after = ast.unparse(part if part is parent else changed)
            text = f"{before} -> {after}"
            line = getattr(node, "lineno", 0)
            made.append(Mutant(module, line, text, ast.unparse(ast.fix_missing_locations(tree))))
            _put(parent, name, index, node)
    return made


def _put(parent: ast.AST, name: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[index] = node


def sample(modules: list[str], count: int, seed: int) -> list[Mutant]:
    """Draws mutants, as far as possible equally many of each module."""
    rng = random.Random(seed)
    left = {module: mutants(module) for module in modules}
    for found in left.values():
        rng.shuffle(found)
    chosen: list[Mutant] = []
    while len(chosen) < count and any(left.values()):
        chosen += [found.pop() for found in left.values() if found]
    return chosen[:count]


def copy_tree(folder: Path) -> None:
    """Copies what the tests need."""
    ignore = shutil.ignore_patterns("__pycache__", "*.so", "build")
    for name in ("keras_facealign", "tests", "tfds_builders", "saved_models", "examples", ".ci"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("pyproject.toml", "setup.cfg", "setup.py", "README.md", "MANIFEST.in"):
        shutil.copy(ROOT / name, folder)


def run_tests(tree: Path, tests: list[str], limit: int) -> tuple[str, float]:
    """Runs test files of a tree in a fork.

    Args:
        tree: The copy of the repository.
        tests: Test files.
        limit: Seconds of processor time, and a tenth of the seconds of time, that they may take.

    Returns:
        "passed", "failed" or "timeout", and the seconds of processor time.
    """
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            os.chdir(tree)
            sys.path.insert(0, str(tree))
            sys.dont_write_bytecode = True  # a mutant may have the original's size and time
            os.environ["PYTHONPATH"] = str(tree)
            # Other backends repeat tests in processes of their own, which take long.
            os.environ["METRICS_TEST_INNER"] = "1"
            os.environ["KERAS_FACEALIGN_CACHE"] = str(tree / "cache")
            log = os.open(tree / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            import pytest

            words = ["-q", "-x", "-p", "no:cacheprovider"]
            os._exit(pytest.main([*words, *(f"tests/{name}" for name in tests)]))
        finally:
            os._exit(99)
    ends = time.monotonic() + 10 * limit
    done, status, usage = 0, 0, None
    while not done and time.monotonic() < ends:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        time.sleep(0.05)
    if not done:
        os.killpg(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
    seconds = usage.ru_utime + usage.ru_stime if usage else 0.0
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXCPU):
        return "timeout", seconds
    return ("passed" if status == 0 else "failed"), seconds


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="mutants to try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", type=int, default=0, help="leave out the first of them")
    parser.add_argument("--jobs", type=int, default=1, help="mutants to try at a time")
    parser.add_argument("--module", action="append", help="such as geometry/boxes.py; repeatable")
    parser.add_argument("--match", default="", help="only mutants whose text contains this")
    args = parser.parse_args(words)
    modules = args.module or list(TARGETS)
    drawn = sample(modules, args.count, args.seed)[args.skip :]
    chosen = [m for m in drawn if args.match in str(m)]
    preload()
    trees: Queue[Path] = Queue()
    with tempfile.TemporaryDirectory() as folder:
        for i in range(args.jobs):
            tree = Path(folder, str(i))
            tree.mkdir()
            copy_tree(tree)
            trees.put(tree)
        limits = {}
        for module in sorted({mutant.module for mutant in chosen}):
            tree = trees.get()
            result, seconds = run_tests(tree, TARGETS[module], 600)
            if result != "passed":
                print((tree / "log.txt").read_text()[-2000:])
                raise SystemExit(f"The tests of {module} have {result} without a fault.")
            trees.put(tree)
            limits[module] = 10 + int(4 * seconds)

        def try_out(mutant: Mutant) -> str:
            tree = trees.get()
            path = tree / "keras_facealign" / mutant.module
            original = path.read_bytes()
            try:
                path.write_text(mutant.source, encoding="utf-8")
                result, _ = run_tests(tree, TARGETS[mutant.module], limits[mutant.module])
            finally:
                path.write_bytes(original)
                trees.put(tree)
            print(f"{result:8}{mutant.module}:{mutant.line}: {mutant.text}", flush=True)
            return result

        with ThreadPoolExecutor(args.jobs) as pool:
            results = list(pool.map(try_out, chosen))
    return report(chosen, results)


def preload() -> None:
    """Imports what takes long and is not of this package; nothing of it may start threads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import cv2
    import pytest  # noqa: F401
    import tensorflow  # noqa: F401

    cv2.setNumThreads(0)
    import keras  # noqa: F401


def report(chosen: list[Mutant], results: list[str]) -> int:
    """Prints mutants and survivors of each module; returns 1 if one is not explained."""
    print(f"\n{'module':28}mutants  killed  equivalent  survived")
    unexplained = 0
    survivors = [m for m, result in zip(chosen, results, strict=True) if result == "passed"]
    for module in TARGETS:
        number = sum(m.module == module for m in chosen)
        alive = [m for m in survivors if m.module == module]
        explained = sum(str(m) in EQUIVALENT for m in alive)
        unexplained += len(alive) - explained
        if number:
            killed = number - len(alive)
            rest = len(alive) - explained
            print(f"{module:28}{number:7}{killed:8}{explained:12}{rest:10}")
    share = 100 * unexplained / max(len(chosen), 1)
    print(f"{len(chosen)} mutants, {unexplained} survivors without a reason ({share:.1f} %)")
    for mutant in survivors:
        print(f"  {mutant.module}:{mutant.line}: {mutant.text}")
        print(f"      {EQUIVALENT.get(str(mutant), 'no reason known')}")
    return int(unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())
