"""MkDocs hook that adds generated pages: API, model cards, changelog and contributing."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "keras_facealign"

# Public modules whose names the room's own package does not export.
EXTRA_MODULES = {
    "calibration": ["quality"],
    "corpus": ["beam"],
    "data": ["catalog", "labels", "readers.ibug_300w", "face_profiling"],
    "evaluation": ["collect_predictions", "cards", "inspection"],
    "objective": ["losses", "metrics", "targets"],
    "storage": ["atomic", "json_files", "preset_folders"],
}

BASE_CLASS_OPTIONS = ("inherited_members", "show_root_heading", "show_root_toc_entry")


def rooms() -> list[str]:
    """Names of the package's rooms that have something to document, in alphabetical order."""
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return sorted(folders - {"cli", "saved_models"})


def room_page(room: str) -> str:
    """The Markdown of a room's page: its summary, then what it exports."""
    modules = [f"keras_facealign.{room}"]
    for name in EXTRA_MODULES.get(room, []):
        path = PACKAGE / room / name.replace(".", "/")
        if path.with_suffix(".py").is_file() or path.is_dir():
            modules.append(f"keras_facealign.{room}.{name}")
    parts = [f"# {room}", "", f"::: {modules[0]}", ""]
    if room == "models":
        # What the base class inherits is shown once, and not again for each family.
        parts[3:] = ["    options:", "      filters: ['!^_', '!^FaceAlignModel$']", ""]
        parts += ["::: keras_facealign.models.FaceAlignModel", "    options:"]
        parts += [f"      {option}: true" for option in BASE_CLASS_OPTIONS]
        parts.append("")
    for module in modules[1:]:
        parts += [f"## {module}", "", f"::: {module}", "    options:", "      heading_level: 3", ""]
    return "\n".join(parts)


def summary(room: str) -> str:
    """First line of a room's docstring."""
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def on_config(config: Any) -> Any:
    """Adds the generated pages to the navigation."""
    api = ["api/index.md", *({room: f"api/{room}.md"} for room in rooms())]
    cards = [{path.parent.name: f"model_cards/{path.parent.name}.md"} for path in model_cards()]
    config.nav.append({"API": api})
    for section in config.nav:
        if "Start" in section:
            section["Start"].append({"Model cards": cards})
    return config


def model_cards() -> list[Path]:
    """The cards of the presets that have one."""
    return sorted((ROOT / "saved_models").glob("*/README.md"))


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages and the figures of the model cards."""
    lines = ["# API reference", "", "Everything that is public, by room.", ""]
    lines += ["| Room | Content |", "|---|---|"]
    for room in rooms():
        files.append(File.generated(config, f"api/{room}.md", content=room_page(room)))
        lines.append(f"| [`keras_facealign.{room}`]({room}.md) | {summary(room)} |")
    lines += ["", "The most used names are also exported by `keras_facealign` itself:", ""]
    lines += ["::: keras_facealign", "    options:", "      members: false", ""]
    files.append(File.generated(config, "api/index.md", content="\n".join(lines)))
    for page in ("CHANGELOG.md", "CONTRIBUTING.md"):
        # Links in the repository's root start with this folder.
        text = (ROOT / page).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page.lower(), content=text))
    for card in model_cards():
        name = card.parent.name
        # The card shows the figure that lies next to it in its preset's folder.
        text = card.read_text(encoding="utf-8").replace("(card.png)", f"({name}.png)")
        files.append(File.generated(config, f"model_cards/{name}.md", content=text))
        figure = card.with_name("card.png")
        if figure.is_file():
            files.append(
                File.generated(config, f"model_cards/{name}.png", abs_src_path=str(figure))
            )
    return files
