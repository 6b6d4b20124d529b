"""Fails unless a wheel holds every preset file, data-set card and module that git tracks."""

from __future__ import annotations

import subprocess
import sys
import zipfile

MAX_MEGABYTES = 100  # what PyPI takes

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

wanted = set()
for path in filter(None, tracked):
    top, _, rest = path.partition("/")
    if top == "saved_models":
        # The int8 copies would take an installation for LiteRT alone over its limit of size.
        if path.endswith((".json", ".h5", "/model.tflite")):
            wanted.add(f"keras_facealign/saved_models/{rest}")
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
        wanted.add(path)

missing = sorted(wanted - held)
unwanted = sorted(
    name for name in held if "/dummy_data/" in name or name.startswith("saved_models")
)
presets = sorted(name for name in wanted if "/saved_models/" in name)
print(f"{wheel.rpartition('/')[2]}: {len(held)} files, {megabytes:.1f} MB")
print(f"{len(wanted)} files are wanted in it, {len(presets)} of them presets'")
if missing or unwanted or megabytes > MAX_MEGABYTES:
    sys.exit(f"missing: {missing}\nunwanted: {unwanted}\nsize: at most {MAX_MEGABYTES} MB")
