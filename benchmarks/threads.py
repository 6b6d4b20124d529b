"""Measures faces per second of one aligner that several threads share, boxes given.

    python benchmarks/threads.py --runtimes litert openvino keras

prints a line for each runtime and number of threads: the median of rounds in which the numbers of
threads take turns, so that other load of the machine meets all of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from keras_facealign import FaceAligner, read_image

PHOTO = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
BOX = (173.0, 71.0, 275.0, 198.0)


def faces_per_second(aligner: FaceAligner, photo, threads: int, calls: int) -> float:
    """Aligns one face `calls` times from a pool of threads."""
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        list(pool.map(lambda _: aligner.align(photo, BOX), range(calls)))
        return calls / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--preset", default="sat1_cab_mobile", help="preset to run")
    parser.add_argument("--runtimes", nargs="+", default=["litert"], help="runtimes to compare")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2, 4], help="threads")
    parser.add_argument("--calls", type=int, default=100, help="faces in a round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds")
    options = parser.parse_args()
    photo = read_image(PHOTO)
    for runtime in options.runtimes:
        aligner = FaceAligner.from_preset(options.preset, None, runtime=runtime)
        faces_per_second(aligner, photo, max(options.threads), options.calls)  # warms up
        rates = {count: [] for count in options.threads}
        for _ in range(options.rounds):
            for count, found in rates.items():
                found.append(faces_per_second(aligner, photo, count, options.calls))
        for count, found in rates.items():
            print(f"{runtime:10} {count} threads: {statistics.median(found):6.0f} faces/s")


if __name__ == "__main__":
    main()
