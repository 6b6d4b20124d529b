"""Small corpora of every kind, and the aligner that they are aligned with."""

from __future__ import annotations

import functools
import io
import os
import signal
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_facealign.corpus import AlignOptions
from keras_facealign.corpus.tfrecord import masked_crc32c
from keras_facealign.inference import FaceAligner
from tests.paths import ROOT

BROKEN = {"empty": b"", "text": b"no photo"}
BOX = (20.0, 25.0, 75.0, 95.0)


@functools.cache
def portrait() -> Image.Image:
    with Image.open(ROOT / "examples" / "astronaut.jpg") as photo:
        return photo.convert("RGB").crop((150, 20, 310, 180))


@functools.cache
def photo(number: int = 0, kind: str = "jpeg") -> bytes:
    """A portrait, darker by its number, so that no two have the same landmarks."""
    stream = io.BytesIO()
    dark = portrait().point(lambda value: value * (1 - number / 100)).resize((110, 110))
    dark.save(stream, kind)
    return stream.getvalue()


def photos(count: int, **broken: bytes) -> dict[str, bytes]:
    """Photos by name, with the broken ones in the middle."""
    found = {f"p{number:03d}.jpg": photo(number) for number in range(count)}
    return dict(sorted((found | {f"p000_{k}.jpg": v for k, v in broken.items()}).items()))


def write_folder(folder: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_tar(path: Path, contents: Any, mode: str = "w") -> Path:
    pairs = contents.items() if isinstance(contents, dict) else contents
    with tarfile.open(path, mode) as archive:
        for name, content in pairs:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_parquet(path: Path, columns: dict[str, list[Any]], **options: Any) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, **options)
    return path


def field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer."""
    size, length = b"", len(content)
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def example(**features: bytes) -> bytes:
    entries = [
        field(1, field(1, name.encode()) + field(2, field(1, field(1, value))))
        for name, value in features.items()
    ]
    return field(1, b"".join(entries))


def record(content: bytes) -> bytes:
    size = struct.pack("<Q", len(content))
    sums = [struct.pack("<I", masked_crc32c(part)) for part in (size, content)]
    return size + sums[0] + content + sums[1]


def write_tfrecord(path: Path, contents: dict[str, bytes]) -> Path:
    records = (record(example(id=key.encode(), image=value)) for key, value in contents.items())
    path.write_bytes(b"".join(records))
    return path


def one_box(image: np.ndarray) -> list[tuple[float, ...]]:
    return [BOX]


def load(detector: Any = one_box) -> FaceAligner:
    """The bundled network with a box at a fixed place: no Keras, and 20 ms to load."""
    return FaceAligner.from_preset("sat1_cab_mobile", detector, runtime="litert")


def crash_on_white(image: np.ndarray) -> list[tuple[float, ...]]:
    if image.min() == 255:
        os.kill(os.getpid(), signal.SIGKILL)
    return [BOX]


def load_crashing() -> FaceAligner:
    return load(crash_on_white)


def load_dying() -> FaceAligner:
    os._exit(7)


class Options(AlignOptions):
    """Those of a pipeline with the aligner above."""

    def load(self) -> FaceAligner:
        return load()


def results(output: Path) -> dict[str, bytes]:
    """All files of a folder."""
    found = (path for path in sorted(output.rglob("*")) if path.is_file())
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in found}


def rows(output: Path, folder: str = "faces") -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    files = sorted((output / folder).glob("*.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
