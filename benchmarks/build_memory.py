"""Measures the memory that building 300W-LP takes, on drawn images.

    python benchmarks/build_memory.py --count 5000

Prints the process's peak memory after building a few faces, which is what TensorFlow and TFDS take
for themselves, and after building many. What is added should not grow with the number of faces:
TFDS keeps the records of a split in memory up to a limit of its own (1 GB), beyond which it sorts
them in files; --buffer sets that limit, so that what remains is the builder's own share.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from input_pipeline import build, write_300w_lp
from tensorflow_datasets.core import shuffle


def peak_megabytes() -> float:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=5000, help="faces to build")
    parser.add_argument("--buffer", type=float, help="megabytes of records TFDS holds in memory")
    args = parser.parse_args()
    if args.buffer is not None:
        shuffle.MAX_MEM_BUFFER_SIZE = int(args.buffer * 1e6)
    for count in (50, args.count):
        with tempfile.TemporaryDirectory() as folder:
            write_300w_lp(Path(folder) / "drawn", count)
            start = time.perf_counter()
            builder = build("w300_lp/pt2d", Path(folder) / "drawn", Path(folder), "array_record")
            seconds = time.perf_counter() - start
            split = builder.info.splits["train"]
            print(
                f"{split.num_examples} faces, {split.num_bytes / 1e6:.0f} MB of records: "
                f"{seconds:.0f} s, peak {peak_megabytes():.0f} MB"
            )


if __name__ == "__main__":
    main()
