"""The documentation names commands, options, scripts and imports that exist.

`.ci/run_tutorials.py` runs the code of the tutorials; this covers the pages that need data sets.
"""

from __future__ import annotations

import ast
import importlib
import re
import shlex

import pytest
import typer

from keras_facealign.cli.app import app
from tests.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def ids(path) -> str:
    return path.relative_to(ROOT).as_posix()


def command_lines(text: str) -> list[list[str]]:
    """Words of all calls of the console command, in blocks and in the running text."""
    joined = re.sub(r"\\\n\s*", "", text)
    blocks = re.findall(r"^```\w*\n(.*?)^```", joined, re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]
    # Inside of a sentence a call may run over the end of a line.
    lines += [re.sub(r"\s+", " ", code) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", joined)]
    calls = []
    for line in lines:
        for part in line.split("&&"):
            part = re.split(r"[>|;]", part.replace("...", ""))[0].strip()
            if part.startswith("keras-facealign "):
                calls.append(shlex.split(part)[1:])
    return calls


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_and_options_exist(page):
    for words in command_lines(page.read_text(encoding="utf-8")):
        if words[0] in ("COMMAND", "--help", "--version"):
            continue
        assert words[0] in COMMANDS, words
        options = {
            name
            for parameter in COMMANDS[words[0]].params
            if not getattr(parameter, "hidden", False)
            for name in (*parameter.opts, *parameter.secondary_opts, "--help")
        }
        unknown = {word for word in words if word.startswith("--")} - options
        assert not unknown, words


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_imports_resolve(page):
    blocks = re.findall(
        r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    for node in (node for block in blocks for node in ast.walk(ast.parse(block))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("keras_facealign"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_dotted_names_resolve(page):
    for name in set(
        re.findall(r"`(keras_facealign(?:\.\w+)+)[`(]", page.read_text(encoding="utf-8"))
    ):
        if page.name in ("vocabulary.md", "CONTRIBUTING.md"):
            continue  # the former lists old names too, the latter files
        module, rest = name, []
        while True:
            try:
                found = importlib.import_module(module)
                break
            except ModuleNotFoundError:
                module, _, last = module.rpartition(".")
                rest.insert(0, last)
        for part in rest:
            found = getattr(found, part)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_scripts_exist(page):
    text = page.read_text(encoding="utf-8")
    for script in re.findall(r"\b((?:examples|benchmarks|docs/figures|\.ci)/\w+\.(?:py|sh))", text):
        assert (ROOT / script).is_file(), script
