"""Aligns a generated corpus in several processes: overhead, completeness, memory, killed workers.

    python benchmarks/corpus.py --photos 20000 --workers 2

The photos are variations of the portrait in `examples/`, 1 in 100 of them broken in one of the ways
of `BROKEN`. Three passes over them:

- a plain loop in one process, which keeps no result: the processor time that all else is compared
  with; one half of it before the next pass, one after, as a busy machine's speed drifts,
- `keras_facealign.corpus.run`: its processor time, all processes and the loading of networks
  included, and the memory of its workers along the way,
- the same once more, with workers killed at random times.

The program ends with an error unless, both times, each good photo has one row and each broken one
is one dead letter, and both folders are equal byte by byte. --beam adds a pass of Beam's local
runner with as many processes. The photos and results are removed at the end unless --folder is
given.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageEnhance

from keras_facealign.corpus import AlignOptions, Shard, plan, prepare, read_dead_letters, run
from keras_facealign.prediction.concurrency import available_cores, limit_cores

ROOT = Path(__file__).parents[1]
PRESET = ROOT / "saved_models" / "sat1_cab_mobile" / "model_int8.tflite"
BROKEN_EVERY = 100


def png_bomb() -> bytes:
    """A PNG whose header claims 60 000 x 60 000 pixels."""
    stream = io.BytesIO()
    Image.new("L", (1, 1)).save(stream, "png")
    content = bytearray(stream.getvalue())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    return bytes(content)


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda photo: b"",
    "text": lambda photo: b"<html>404 Not Found</html>",
    "cut off": lambda photo: photo[: len(photo) // 2],
    "only a header": lambda photo: photo[:64],
    "zeros": lambda photo: bytes(len(photo)),
    "a PNG that claims 60 000 x 60 000 pixels": lambda photo: png_bomb(),
    "a video": lambda photo: b"\x00\x00\x00\x18ftypisom" + photo,
}


@functools.cache
def portrait() -> Image.Image:
    with Image.open(ROOT / "examples" / "astronaut.jpg") as photo:
        return photo.convert("RGB")


def draw_photo(number: int) -> bytes:
    """A JPEG of 128 x 128 pixels, another one for each number."""
    rng = random.Random(number)
    x, y, side = rng.uniform(110, 150), rng.uniform(0, 25), rng.uniform(170, 220)
    image = portrait().resize((128, 128), box=(x, y, x + side, y + side))
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.6, 1.2))
    stream = io.BytesIO()
    image.save(stream, "jpeg", quality=85)
    return stream.getvalue()


def write_corpus(folder: Path, count: int) -> tuple[set[str], set[str]]:
    """Writes the photos, a thousand to a folder; returns the keys of the good and broken ones."""
    good, broken = set(), set()
    kinds = list(BROKEN.values())
    for number in range(count):
        key = f"{number // 1000:03d}/{number:06d}.jpg"
        content = draw_photo(number)
        bad = number % BROKEN_EVERY == BROKEN_EVERY // 2
        if bad:
            content = kinds[number // BROKEN_EVERY % len(kinds)](content)
        (broken if bad else good).add(key)
        path = folder / key
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(content)
    return good, broken


@contextlib.contextmanager
def measured() -> Iterator[Callable[[], tuple[float, float]]]:
    """Yields a function of the processor and other seconds of this process and ended children."""

    def used() -> float:
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)

    begin = used(), time.monotonic()
    yield lambda: (used() - begin[0], time.monotonic() - begin[1])


def plain_loop(paths: list[Path], options: AlignOptions, cores: int, connection: Any) -> None:
    """Aligns photos, one group after the other; sends the seconds of loading and of the loop."""
    limit_cores(cores)
    aligner = options.load()
    loaded = time.process_time()
    for start in range(0, len(paths), 256):
        aligner.align_batch(paths[start : start + 256], on_error="return")
    connection.send((loaded, time.process_time() - loaded))


def plain_pass(paths: list[Path], options: AlignOptions, cores: int) -> tuple[float, float]:
    """Returns the seconds of processor time that a new process takes to load and to align."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=plain_loop, args=(paths, options, cores, sender))
    process.start()
    sender.close()
    found = receiver.recv()
    process.join()
    return found


def resident_megabytes(pid: int | None) -> float:
    """Memory of a process, 0 if it has ended; Linux only."""
    with contextlib.suppress(OSError):
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize() / 1e6
    return 0.0


@dataclass
class Watch:
    """What is looked at during a run: memory, and whether it is time to kill a worker.

    Args:
        kills: Workers to kill.
        mean_seconds: Between two of them, in the mean.
    """

    kills: int = 0
    mean_seconds: float = 1.0

    def __post_init__(self) -> None:
        self.random = random.Random(0)
        self.killed = 0
        self.memory: list[tuple[float, float]] = []
        self._set_next()

    def _set_next(self) -> None:
        self._next = time.monotonic() + self.random.uniform(0.5, 1.5) * self.mean_seconds

    def check(self) -> None:
        workers = multiprocessing.active_children()
        largest = max((resident_megabytes(worker.pid) for worker in workers), default=0.0)
        self.memory.append((time.monotonic(), largest))
        if workers and self.killed < self.kills and time.monotonic() > self._next:
            os.kill(int(self.random.choice(workers).pid or 0), signal.SIGKILL)
            self.killed += 1
            self._set_next()

    def curve(self, parts: int = 10) -> list[float]:
        """The most memory of a worker in each part of the time."""
        first, last = self.memory[0][0], self.memory[-1][0] + 1e-6
        most = [0.0] * parts
        for moment, megabytes in self.memory:
            part = int(parts * (moment - first) / (last - first))
            most[part] = max(most[part], megabytes)
        return most


def check_complete(
    output: Path, shards: list[Shard], good: set[str], broken: set[str], settings: dict[str, Any]
) -> None:
    """Ends the program unless each photo is where it belongs, and there once."""
    import pyarrow.parquet as pq

    rows = [
        str(key)
        for path in sorted((output / "faces").iterdir())
        for key in pq.read_table(path, columns=["key"])["key"].to_pylist()
    ]
    dead = [row["key"] for row in read_dead_letters(output)]
    for name, found, expected in (("rows", rows, good), ("dead letters", dead, broken)):
        lost, foreign = expected - set(found), set(found) - expected
        if lost or foreign or len(found) != len(expected):
            sys.exit(
                f"{output}: {len(found)} {name} for {len(expected)} photos; lost {sorted(lost)[:3]}"
                f", not expected {sorted(foreign)[:3]}"
            )
    if prepare(shards, output, settings):
        sys.exit(f"{output}: shards are missing")


def contents(output: Path) -> dict[str, bytes]:
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in sorted(output.rglob("*.parquet"))
    }


def beam_pass(source: Path, output: Path, options: argparse.Namespace) -> None:
    """Runs the shards on Beam's local runner."""
    words = [str(source), "--output", str(output), "--preset", str(options.preset)]
    words += ["--photos-per-shard", str(options.photos_per_shard), "--runner", "DirectRunner"]
    words += ["--direct_running_mode", "multi_processing"]
    words += ["--direct_num_workers", str(options.workers)]
    subprocess.run([sys.executable, "-m", "keras_facealign.corpus.beam", *words], check=True)


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Makes the passes, and prints what they show."""
    source = folder / "photos"
    good, broken = write_corpus(source, options.photos)
    print(f"{len(good)} photos and {len(broken)} broken ones: {', '.join(BROKEN)}", flush=True)
    what = AlignOptions(str(options.preset))
    shards = plan(source, photos_per_shard=options.photos_per_shard)

    cores = max(1, available_cores() // options.workers)
    paths = [source / key for key in sorted(good | broken)]

    def corpus(name: str, watch: Watch) -> tuple[float, float]:
        output = folder / name
        todo = prepare(shards, output, what.to_dict())
        with measured() as seconds:
            for _ in run(
                todo, output, what.load, workers=options.workers, memory=2000, check=watch.check
            ):
                pass
            used = seconds()
        check_complete(output, shards, good, broken, what.to_dict())
        return used

    watch = Watch()
    load_seconds, first = plain_pass(paths[::2], what, cores)
    used = corpus("whole", watch)
    plain = load_seconds + first + plain_pass(paths[1::2], what, cores)[1]
    per_photo = 1000 * plain / options.photos
    print(
        f"a plain loop in one process: {plain:.1f} s of processor time, {per_photo:.2f} ms a photo"
    )
    report(f"{options.workers} workers", used, plain)
    curve = ", ".join(f"{megabytes:.0f}" for megabytes in watch.curve())
    print(f"largest worker, MB, in tenths of the time: {curve}", flush=True)

    watch = Watch(options.kills, used[1] / (options.kills + 1))
    used = corpus("killed", watch)
    report("the same", used, plain, f", {watch.killed} workers killed")
    if contents(folder / "whole") != contents(folder / "killed"):
        sys.exit("the results after kills are not those of the run without")

    if options.beam:
        with measured() as seconds:
            beam_pass(source, folder / "beam", options)
        report(f"Beam, {options.workers} processes", seconds(), plain)
        if contents(folder / "whole") != contents(folder / "beam"):
            sys.exit("the results of Beam are not those of the processes")
    print("each good photo has one row, each broken one is one dead letter; all passes are equal")


def report(name: str, used: tuple[float, float], plain: float, remark: str = "") -> None:
    """Prints the seconds of a pass."""
    print(
        f"{name}: {used[0]:.1f} s of processor time, {100 * (used[0] / plain - 1):+.1f} %, "
        f"{used[1]:.0f} s in all{remark}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--photos-per-shard", type=int, default=250)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=10, help="workers to kill in the third pass")
    parser.add_argument("--preset", type=Path, default=PRESET, help="preset or exported file")
    parser.add_argument("--beam", action="store_true", help="also run on Apache Beam")
    parser.add_argument("--folder", type=Path, help="new folder for photos and results, kept")
    options = parser.parse_args()
    if options.folder is not None:
        options.folder.mkdir(parents=True)
        measure(options.folder, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options)


if __name__ == "__main__":
    main()
