"""`keras-facealign datasets`: lists the data sets, and what a folder of downloads contains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_facealign.cli._common import AsJSON
from keras_facealign.cli.output import print_json, print_tables
from keras_facealign.errors import FaceAlignError


def datasets(manual_dir: Path | None = None, as_json: AsJSON = False) -> None:
    """List the data sets, their splits and, with --manual-dir, which of their files exist.

    Every set is read from the user's own copy: build it with TensorFlow Datasets, with the folder
    given here as manual_dir. Counts are of files and lines, which are not opened.

    Args:
        manual_dir: Folder of a data set, or one with a subfolder for each of several.
    """
    from keras_facealign.data.catalog import CATALOG

    if manual_dir is not None and not manual_dir.is_dir():
        raise FaceAlignError(f"{manual_dir}: there is no such folder; give that of your downloads")
    rows = [_describe(data_set, manual_dir) for data_set in CATALOG]
    if as_json:
        print_json(rows)
    else:
        print_tables(_table(rows, manual_dir), min_width=140)


def _describe(data_set: Any, folder: Path | None) -> dict[str, Any]:
    """Describes a data set, and the copy in a folder."""
    from keras_facealign.data.catalog import find

    fields = ("name", "title", "landmarks", "published", "homepage")
    row = {name: getattr(data_set, name) for name in fields}
    if folder is None:
        return row
    try:
        place, survey = find(data_set, folder)
    except FaceAlignError as error:
        return {**row, "folder": None, "found": {}, "missing": [str(error)]}
    place = str(place) if survey.found else None
    return {**row, "folder": place, "found": survey.found, "missing": list(survey.missing)}


def _table(rows: list[dict[str, Any]], folder: Path | None) -> Any:
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
        table.add_column("Folder and what is missing", ratio=1, overflow="fold")
    for row in rows:
        published = row["published"]
        cells = [row["name"], str(row["landmarks"] or "pairs"), "\n".join(published)]
        cells.append("\n".join(f"{number:,}" for number in published.values()))
        if folder is None:
            cells.append(row["homepage"])
        else:
            found = row["found"]
            here = (f"{found[split]:,}" if split in found else "-" for split in published)
            cells += ["\n".join(here), _remark(row)]
        table.add_row(*cells, end_section=True)
    return table


def _remark(row: dict[str, Any]) -> str:
    """Describes where a data set is and what it lacks; the last of many files by their number."""
    parts = row["missing"]
    missing = ", ".join(parts if len(parts) <= 5 else [*parts[:5], f"{len(parts) - 5} more"])
    if not row["folder"]:
        return f"not here: {missing}"
    partial = [
        f"{split} has {row['found'][split]} of {number}"
        for split, number in row["published"].items()
        if row["found"].get(split, number) != number
    ]
    lines = [row["folder"]]
    lines += [f"missing: {missing}"] if missing else []
    lines += [f"partial: {', '.join(partial)}"] if partial else []
    return "\n".join(lines)
