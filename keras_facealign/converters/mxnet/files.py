"""Finds a checkpoint's files: one `PREFIX-0000.params` per epoch, and `PREFIX-symbol.json`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import parse_json, read_file

_EPOCH = re.compile(r"-(\d{4,9})\.params$")
# The largest graph of the original code has half a megabyte.
_MAX_SYMBOL_BYTES = 20_000_000


def find_params(prefix: str | Path, epoch: int | None = None) -> Path:
    """Finds the parameter file of a checkpoint.

    Args:
        prefix: The path up to `-0000.params`, as in MXNet, or the file itself.
        epoch: Number of the epoch; None chooses the newest.

    Returns:
        The file.

    Raises:
        FaceAlignError: If there is no such file, or a file is given together with an epoch.
    """
    prefix = Path(prefix)
    if prefix.is_file():
        if epoch is not None:
            raise FaceAlignError(
                f"{prefix} is a file; omit epoch={epoch}, or give the path up to the number."
            )
        return prefix
    epochs = {}
    if prefix.parent.is_dir():
        for path in sorted(prefix.parent.iterdir()):
            match = _EPOCH.search(path.name)
            if match and path.name[: match.start()] == prefix.name:
                epochs[int(match[1])] = path
    if not epochs:
        raise FaceAlignError(
            f"{prefix}: there is neither such a file nor {prefix.name}-0000.params (any four "
            "digits); give a .params file, or its path up to the number."
        )
    if epoch is None:
        epoch = max(epochs)
    if epoch not in epochs:
        known = ", ".join(str(number) for number in sorted(epochs))
        raise FaceAlignError(f"{prefix} has no epoch {epoch}; choose one of: {known}.")
    return epochs[epoch]


def symbol_has_gate(params: Path) -> bool | None:
    """Reads from the graph in a parameter file's folder whether grids have the gate (`net_sat` 2).

    The gate multiplies by the average of a map, the only average pooling of the original code.

    Args:
        params: The parameter file.

    Returns:
        Whether there is a gate, or None without `PREFIX-symbol.json`.

    Raises:
        FaceAlignError: If that file is not an MXNet graph.
    """
    match = _EPOCH.search(params.name)
    if match is None:
        return None
    path = params.with_name(f"{params.name[: match.start()]}-symbol.json")
    if not path.is_file():
        return None
    return any(_averages(node) for node in _nodes(path))


def _averages(node: dict[str, Any]) -> bool:
    if node.get("op") != "Pooling":
        return False
    # MXNet renamed this key twice.
    attributes = (node.get(key) for key in ("attrs", "attr", "param"))
    return any(isinstance(a, dict) and a.get("pool_type") == "avg" for a in attributes)


def _nodes(path: Path) -> list[dict[str, Any]]:
    advice = 'give the graph that belongs to the parameters, or remove it and say "gate" yourself'
    graph = parse_json(read_file(path, _MAX_SYMBOL_BYTES), path, advice)
    nodes = graph.get("nodes") if isinstance(graph, dict) else None
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        raise FaceAlignError(f"{path} has no list of nodes; {advice}.")
    return nodes
