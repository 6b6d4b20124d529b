"""`keras-facealign datasets`: what can be built, and what a folder of downloads holds of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_facealign.errors import FaceAlignError

__all__ = ["datasets"]


def datasets(
    manual_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of a data set, or one that holds a folder for each of several."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as JSON.")] = False,
) -> None:
    """List the data sets, their splits and, with --manual-dir, what is there of them.

    Every set is read from the user's own copy: build it with TensorFlow Datasets, giving the folder
    named here as manual_dir. Counts are files and lines, which are not opened.
    """
    from keras_facealign.data.catalog import CATALOG

    if manual_dir is not None and not manual_dir.is_dir():
        raise FaceAlignError(f"{manual_dir}: there is no such folder; give that of your downloads")
    rows = [_describe(data_set, manual_dir) for data_set in CATALOG]
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    _print_table(rows, manual_dir)


def _describe(data_set: Any, folder: Path | None) -> dict[str, Any]:
    """What is known of a data set, and of the copy in a folder."""
    from keras_facealign.data.catalog import find

    row: dict[str, Any] = {
        "name": data_set.name,
        "title": data_set.title,
        "landmarks": data_set.landmarks,
        "published": data_set.published,
        "homepage": data_set.homepage,
    }
    if folder is None:
        return row
    try:
        place, survey = find(data_set, folder)
    except FaceAlignError as error:
        return {**row, "folder": None, "found": {}, "missing": [str(error)]}
    return {
        **row,
        "folder": str(place) if survey.found else None,
        "found": survey.found,
        "missing": list(survey.missing),
    }


def _print_table(rows: list[dict[str, Any]], folder: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Data sets", title_justify="left")
    table.add_column("Name", no_wrap=True)
    table.add_column("Landmarks", justify="right")
    table.add_column("Split", no_wrap=True)
    table.add_column("Published", justify="right")
    if folder is None:
        table.add_column("Where to get it")
    else:
        table.add_column("Here", justify="right")
        table.add_column("Folder and what is missing", ratio=1)
    for row in rows:
        splits = list(row["published"])
        cells = [
            row["name"],
            str(row["landmarks"] or "pairs"),
            "\n".join(splits),
            "\n".join(f"{row['published'][split]:,}" for split in splits),
        ]
        if folder is None:
            cells.append(row["homepage"])
        else:
            cells += ["\n".join(_count(row, split) for split in splits), _remark(row)]
        table.add_row(*cells, end_section=True)
    console = Console(markup=False)  # brackets in a path are its own
    # A pipe or a log file has no width of its own to keep to.
    if not console.is_terminal:
        console.width = max(console.width, 140)
    console.print(table)


def _count(row: dict[str, Any], split: str) -> str:
    return f"{row['found'][split]:,}" if split in row["found"] else "-"


def _remark(row: dict[str, Any]) -> str:
    if not row["folder"]:
        return "not here: " + _several(row["missing"])
    partial = [
        f"{split} has {row['found'][split]} of {count}"
        for split, count in row["published"].items()
        if row["found"].get(split, count) != count
    ]
    lines = [row["folder"]]
    if row["missing"]:
        lines.append("missing: " + _several(row["missing"]))
    if partial:
        lines.append("partial: " + ", ".join(partial))
    return "\n".join(lines)


def _several(parts: list[str], limit: int = 5) -> str:
    """Parts by name, the last of many by their number; JSON has them all."""
    named = parts if len(parts) <= limit else [*parts[:limit], f"{len(parts) - limit} more"]
    return ", ".join(named)
