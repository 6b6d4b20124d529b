"""The rooms of the package: one room imports only from rooms below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGE = ROOT / "keras_facealign"

# From the ground up. What is not listed is a module that every room may use.
ROOMS = (
    "geometry",
    "storage",
    "landmarks",
    "ops",
    "layers",
    "networks",
    "objective",
    "calibration",
    "prediction",
    "models",
    "presets",
    "data",
    "training",
    "runtimes",
    "detection",
    "inference",
    "video",
    "formats",
    "corpus",
    "export",
    "evaluation",
    "recognition",
    "converters",
    "cli",
)
GROUND = ("_deprecated", "_lazy", "_opencv", "_version", "errors")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name: str, path: Path) -> Iterator[str]:
    """Every module of the package that a module imports, at its top, deferred or for types."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            targets = [f"{name}: relative import"]  # the package writes full names
        elif isinstance(node, ast.ImportFrom):
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            targets = [f if f in MODULES else str(node.module) for f in full]
        else:
            continue
        yield from (t for t in targets if t.partition(".")[0] == PACKAGE.name or ":" in t)


def room(name: str) -> str:
    return [*name.split("."), ""][1]


ARROWS = sorted(
    {(name, target) for name, path in MODULES.items() for target in imports(name, path)}
)


def test_every_folder_is_a_room_and_every_room_a_folder():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(ROOMS)


def test_no_module_imports_from_a_room_above_it():
    upward = [
        f"{name} -> {target}"
        for name, target in ARROWS
        if room(name) in ROOMS
        and room(target) not in GROUND
        and (room(target) not in ROOMS or ROOMS.index(room(target)) > ROOMS.index(room(name)))
    ]
    assert not upward, "\n".join(upward)


@pytest.mark.parametrize("ground", GROUND)
def test_modules_below_all_rooms_import_none(ground):
    assert not [t for name, t in ARROWS if room(name) == ground and room(t) in ROOMS]


def test_no_circle_of_imports():
    below: dict[str, list[str]] = {name: [] for name in MODULES}
    for name, target in ARROWS:
        # A package's own `__init__` gathers its modules; these import one another directly.
        if MODULES[name].name != "__init__.py":
            below[name].append(target)
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for target in below[name]:
                visit(target, (*trail, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())
