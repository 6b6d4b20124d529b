"""Aligns the photos of one shard, and writes its results when all are done."""

from __future__ import annotations

import itertools
import json
import shutil
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.corpus.output import (
    DEAD_LETTERS,
    FACES,
    FORMAT,
    METADATA,
    OVERLAYS,
    dead_letter_schema,
    face_schema,
    model_digest,
)
from keras_facealign.corpus.reading import Photo, read_photos
from keras_facealign.corpus.shards import Shard
from keras_facealign.data.files import import_extra
from keras_facealign.data.images import read_image
from keras_facealign.detection import BlazeFaceDetector
from keras_facealign.errors import FaceAlignError
from keras_facealign.formats import write_image
from keras_facealign.inference import Face, FaceAligner, draw_faces
from keras_facealign.landmarks import IBUG68
from keras_facealign.storage.atomic import OutputError, atomic_path
from keras_facealign.storage.file_names import printable
from keras_facealign.storage.reading import one_line

# Photos whose results are in memory at a time.
_GROUP = 256


@dataclass(frozen=True)
class AlignOptions:
    """What is done with the photos of a corpus.

    Args:
        preset: As in `FaceAligner.from_preset`, and so
        runtime: and
        flip_test: are these.
        min_face: Smallest face to detect, in pixels, as in `BlazeFaceDetector`.
        overlay_every: Draw the landmarks of one photo in so many, chosen by their keys; 0: of none.
    """

    preset: str = "sat1_cab_mobile"
    runtime: str = "auto"
    flip_test: bool = False
    min_face: float | None = None
    overlay_every: int = 0

    def load(self) -> FaceAligner:
        """Loads the networks."""
        detector = BlazeFaceDetector(min_face_size=self.min_face)
        detector.load()
        return FaceAligner.from_preset(
            self.preset, detector, runtime=self.runtime, flip_test=self.flip_test
        )

    def to_dict(self) -> dict[str, Any]:
        """Describes all that decides the results, with a digest of the network."""
        return {**asdict(self), "model": model_digest(self.preset)}


@dataclass(frozen=True)
class ShardResult:
    """What has become of a shard.

    Args:
        name: Name of the shard.
        photos: Number of photos that are aligned.
        faces: Number of their faces.
        failed: Number of photos that failed.
    """

    name: str
    photos: int
    faces: int
    failed: int


def align_shard(
    shard: Shard,
    output: str | Path,
    aligner: FaceAligner,
    overlay_every: int = 0,
    skip: Collection[int] = (),
    on_photo: Callable[[int], None] = lambda position: None,
) -> ShardResult:
    """Aligns the photos of a shard.

    Writes `faces/NAME.parquet`, a row for each photo in the order of the shard; and, if photos
    failed, `dead_letters/NAME.parquet`. Existing files are replaced. The files depend on nothing
    but the photos, the aligner and the versions of the libraries.

    Args:
        shard: The shard.
        output: Folder of the results, which `prepare` has made.
        aligner: Finds the faces.
        overlay_every: As in `AlignOptions`.
        skip: Positions of photos that are not to be read since they crash the process.
        on_photo: Called with the position of each photo in the shard before it is read.

    Returns:
        The numbers of photos and faces.

    Raises:
        OutputError: If the results cannot be written.

    Example:
        >>> aligner = FaceAligner.from_preset("sat1_cab_mobile")  # doctest: +SKIP
        >>> for shard in plan("photos"):  # doctest: +SKIP
        ...     align_shard(shard, "results", aligner)
    """
    return _ShardRun(shard, Path(output), aligner, overlay_every, skip, on_photo).run()


@dataclass
class _ShardRun:
    """The state of `align_shard`, whose arguments it has."""

    shard: Shard
    output: Path
    aligner: FaceAligner
    overlay_every: int
    skip: Collection[int]
    on_photo: Callable[[int], None]
    position: int = 0
    num_photos: int = 0
    num_faces: int = 0
    keys: set[str] = field(default_factory=set)
    failed: list[dict[str, str]] = field(default_factory=list)

    def run(self) -> ShardResult:
        with suppress(OSError):
            shutil.rmtree(self.output / OVERLAYS / self.shard.name)
        with self._table(FACES, face_schema()) as write:
            photos = read_photos(self.shard)
            before = -1
            while before < self.position:
                before = self.position
                if rows := list(self._rows(itertools.islice(photos, _GROUP))):
                    write(rows)
            self._write_dead_letters()
        return ShardResult(self.shard.name, self.num_photos, self.num_faces, len(self.failed))

    def _table(self, folder: str, schema: Any) -> Any:
        about = {"format": FORMAT, "fingerprint": self.shard.fingerprint}
        scheme = getattr(self.aligner.model, "scheme", IBUG68)
        if folder == FACES and scheme is not None:
            about["scheme"] = scheme.name
        schema = schema.with_metadata({METADATA: json.dumps(about).encode()})
        return _table(self.output / folder / f"{self.shard.name}.parquet", schema)

    def _write_dead_letters(self) -> None:
        if self.failed:
            with self._table(DEAD_LETTERS, dead_letter_schema()) as write:
                write(self.failed)
            return
        path = self.output / DEAD_LETTERS / f"{self.shard.name}.parquet"
        try:
            path.unlink(missing_ok=True)  # of an earlier run
        except OSError as error:
            raise OutputError(f"{path}: cannot be removed ({error.strerror})", error) from error

    def _rows(self, photos: Iterator[tuple[str, Photo]]) -> Iterator[dict[str, Any]]:
        """Aligns some photos together."""
        keys: list[str] = []
        sizes: list[tuple[int, int]] = []
        samples: dict[str, tuple[int, Any]] = {}

        def images() -> Iterator[np.ndarray]:
            for key, photo in photos:
                self.on_photo(self.position)
                text = key.encode("utf-8", "backslashreplace").decode()
                try:
                    image = self._read(text, photo)
                except Exception as error:
                    self._fail(text, error)
                else:
                    if self.overlay_every and not zlib.crc32(text.encode()) % self.overlay_every:
                        samples[text] = self.position, photo
                    keys.append(text)
                    sizes.append((image.shape[1], image.shape[0]))
                    yield image
                self.position += 1

        found = self.aligner.align_batch(images(), names=keys, on_error="return")
        for key, size, faces in zip(keys, sizes, found, strict=True):
            try:
                if isinstance(faces, Exception):
                    raise faces
                row = photo_row(faces, size)
            except Exception as error:
                self._fail(key, error)
                continue
            overlay = self._draw(*samples[key], faces) if key in samples and faces else None
            self.num_photos += 1
            self.num_faces += len(faces)
            yield {"shard": _text(self.shard.name), "key": key, **row, "overlay": overlay}

    def _read(self, key: str, photo: Photo) -> np.ndarray:
        if self.position in self.skip:
            raise FaceAlignError("ends the process that aligns it, by a crash or lack of memory")
        if isinstance(photo, FaceAlignError):
            raise photo
        if key in self.keys:
            raise FaceAlignError("another photo of the shard has the same key; rename one")
        if self.shard.kind != "photos":
            self.keys.add(key)
        return read_image(photo, name=printable(key))

    def _fail(self, key: str, error: Exception) -> None:
        reason = one_line(error)
        if isinstance(error, MemoryError):
            reason = "takes more memory than a worker may have (--memory); make it smaller"
        elif not isinstance(error, FaceAlignError):
            reason = f"{type(error).__name__}: {reason}"
        row = {"key": key, "reason": printable(reason)}
        self.failed.append({"shard": _text(self.shard.name), **row})

    def _draw(self, position: int, photo: Any, faces: list[Face]) -> str:
        name = f"{OVERLAYS}/{self.shard.name}/{position:08d}.jpg"
        (self.output / name).parent.mkdir(parents=True, exist_ok=True)
        scheme = getattr(self.aligner.model, "scheme", IBUG68)
        write_image(self.output / name, draw_faces(read_image(photo), faces, scheme))
        return _text(name)


@contextmanager
def _table(path: Path, schema: Any) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    """Yields a function that adds rows to a Parquet file, which appears at the end."""
    pa, pq = import_extra("pyarrow", "corpus"), import_extra("pyarrow.parquet", "corpus")
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        yield lambda rows: writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def photo_row(faces: list[Face], size: tuple[int, int]) -> dict[str, Any]:
    """Makes the columns of a photo's row of its faces.

    Args:
        faces: The faces of the photo.
        size: (width, height) in pixels.

    Returns:
        `width`, `height` and `faces`, which have the fields of `Face.to_dict`.

    Raises:
        FaceAlignError: If the landmarks are not finite.
    """
    if not all(np.isfinite(face.landmarks).all() for face in faces):
        raise FaceAlignError("the landmarks are not finite; check the model's weights")
    return {"width": size[0], "height": size[1], "faces": [face.to_dict() for face in faces]}


def _text(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
