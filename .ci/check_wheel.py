"""Fails unless a wheel holds every preset file, data-set card and module that git tracks."""

from __future__ import annotations

import subprocess
import sys
import zipfile

MAX_MEGABYTES = 100  # limit of PyPI

wheel = sys.argv[1]
with zipfile.ZipFile(wheel) as archive:
    held = set(archive.namelist())
    megabytes = sum(info.compress_size for info in archive.infolist()) / 1e6

tracked = subprocess.run(
    ["git", "ls-files", "-z", "keras_facealign", "saved_models", "tfds_builders"],
    check=True,
    capture_output=True,
    text=True,
).stdout.split("\0")

expected = set()
for path in filter(None, tracked):
    top, _, rest = path.partition("/")
    if top == "saved_models":
        # The int8 copies would take an installation for LiteRT alone over its limit of size.
        if path.endswith((".json", ".h5", "/model.tflite")):
            expected.add(f"keras_facealign/saved_models/{rest}")
    elif "/dummy_data/" not in path and path.endswith(
        (
            "mean_face68.json",
            "published.csv",
            ".tflite",
            ".py",
            ".md",
            ".bib",
            ".txt",
            ".h",
            ".cc",
            ".cu",
            ".cuh",
        )
    ):
        expected.add(path)

missing = sorted(expected - held)
unexpected = sorted(
    name for name in held if "/dummy_data/" in name or name.startswith("saved_models")
)
presets = sorted(name for name in expected if "/saved_models/" in name)
print(f"{wheel.rpartition('/')[2]}: {len(held)} files, {megabytes:.1f} MB")
print(f"{len(expected)} files are expected, {len(presets)} of them presets'")
if missing or unexpected or megabytes > MAX_MEGABYTES:
    sys.exit(f"missing: {missing}\nunexpected: {unexpected}\nsize: at most {MAX_MEGABYTES} MB")
