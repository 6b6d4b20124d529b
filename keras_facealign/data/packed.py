"""Packing faces into one small file: crops as JPEGs with their labels.

Training needs only the face of an image and a border around it. `pack` crops and re-encodes these
and writes them as one `.npz` archive without pickled objects; `PackedFaces` reads it as batches.
Reading needs only Keras, NumPy and OpenCV or Pillow.

The archive's members, one-dimensional unless a shape is given:

* `header`: uint8, JSON with the keys format, version, side, input_size, num_landmarks;
* `jpeg`: uint8, the concatenated JPEG files; `ends`: int64 (N,), where each of them ends;
* `landmarks`: int16 (N, K, 2), in units of 1/64 pixel of the crop, x before y;
* `visibility`: uint8 (N, K), 0 where a landmark has no position;
* `names`: uint8, the N file names as UTF-8, each followed by a line feed.

A packed file is under the license of the data sets that it is made from. Do not put it into a
repository: the faces are people's.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.epochs import EpochBatches
from keras_facealign.data.npz import ArraySpec, read_npz
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_write
from keras_facealign.storage.reading import parse_json

MAX_BYTES = 25 * 2**20
"""Default limit of a packed file's size."""

_FORMAT, _VERSION = "keras_facealign packed faces", 1
# Landmarks are stored as multiples of this fraction of a pixel, up to 512 pixels either way.
_UNIT = 1 / 64
# Limits of what is decoded.
_MAX_MEMBER_BYTES = 2**31
# Crops that `pack` writes take 10 to 30 times as much in memory, even at low quality below 60.
_FREE_BYTES, _TIMES_FILE = 64_000_000, 60
_MAX_SIDE = 1024


def pack(
    examples: Iterable[Any],
    path: str | os.PathLike[str],
    quality: int = 85,
    side: int | None = None,
    input_size: int = 128,
    boxes: Mapping[str, Any] | None = None,
    max_bytes: int = MAX_BYTES,
) -> int:
    """Writes faces as one file.

    Args:
        examples: `FaceExample`s of `keras_facealign.data`, or mappings with the same keys. Faces
            whose landmarks all have visibility 0 are for training without labels; they need a box.
        path: The file to write, `.npz`.
        quality: JPEG quality of the crops, 1 to 100. A crop takes about 7 kB at the default.
        side: Side of a crop in pixels; by default one and a half times `input_size`.
        input_size: Side of the network's input in pixels; the rest of `side` is a border that
            augmentation may bring into view.
        boxes: Boxes to crop by instead of the examples' own, by file name; see `FaceBatches`.
        max_bytes: Largest file.

    Returns:
        The number of faces.

    Raises:
        FaceAlignError: If there are no examples, one is damaged or has another number of landmarks,
            a size is out of range, or the file would be larger than `max_bytes`.

    Example:
        >>> from keras_facealign.data.readers.ibug_300w import load_samples
        >>> pack(load_samples("300w", "train"), "faces.npz")  # doctest: +SKIP
        2010
    """
    from keras_facealign.data.batches import checked_examples, crop_with_border

    if not 1 <= quality <= 100:
        raise FaceAlignError(f"quality is {quality}; give 1 to 100.")
    if side is None:
        side = input_size + 2 * (input_size // 4)
    if not 1 <= input_size <= side <= _MAX_SIDE or (side - input_size) % 2:
        raise FaceAlignError(
            f"side is {side} and input_size {input_size}; give an even border around the input, "
            f"and at most {_MAX_SIDE} pixels."
        )
    files: list[bytes] = []
    landmarks, visibility, names = [], [], []
    border = (side - input_size) // 2
    for example in checked_examples(examples, boxes):
        image, points = crop_with_border(
            example["image"], example["landmarks"], example["box"], input_size, border
        )
        files.append(_encode(image, quality))
        landmarks.append(_in_units(points, example["visibility"], example["file_name"]))
        visibility.append(example["visibility"].astype(np.uint8))
        names.append(example["file_name"].replace("\n", " "))
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "side": side,
        "input_size": input_size,
        "num_landmarks": len(visibility[0]),
    }
    content = io.BytesIO()
    np.savez_compressed(
        content,
        header=_bytes(json.dumps(header).encode()),
        jpeg=_bytes(b"".join(files)),
        ends=np.cumsum([len(file) for file in files], dtype=np.int64),
        landmarks=np.stack(landmarks),
        visibility=np.stack(visibility),
        names=_bytes("".join(f"{name}\n" for name in names).encode()),
    )
    size = content.getbuffer().nbytes
    if size > max_bytes:
        raise FaceAlignError(
            f"{path} would have {size} bytes, more than {max_bytes}; lower quality ({quality}) or "
            f"side ({side}), or pack fewer faces."
        )
    atomic_write(path, lambda file: file.write(content.getbuffer()))
    return len(files)


def _encode(image: np.ndarray, quality: int) -> bytes:
    import cv2

    _, file = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return file.tobytes()


def _in_units(points: np.ndarray, visibility: np.ndarray, name: str) -> np.ndarray:
    """Landmarks as int16 (K, 2); 0 where there is no position."""
    units = np.rint(np.where(visibility[:, None] > 0, points, 0.0) / _UNIT)
    if np.abs(units).max(initial=0) > np.iinfo(np.int16).max:
        raise FaceAlignError(
            f"{name}: a landmark lies {np.abs(units).max() * _UNIT:.0f} pixels away from the crop; "
            "correct its label or its box."
        )
    return units.astype(np.int16)


def _bytes(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


class PackedFaces(EpochBatches):
    """Batches of a packed file, all its crops decoded in memory.

    Args:
        path: A file that `pack` wrote.
        batch_size: Faces in a batch.
        shuffle: Whether to shuffle in each epoch and drop a last short batch.
        seed: Integer.
        **kwargs: `shard`, see `EpochBatches`, and as for every `keras.utils.PyDataset`.

    Attributes:
        images: uint8 (N, side, side, 3), RGB.
        landmarks: float32 (N, K, 2), pixels of the crops; (0, 0) where visibility is 0.
        visibility: float32 (N, K).
        file_names: N names of the images.
        input_size: Side of the network's input in pixels.

    Raises:
        FaceAlignError: If the file is missing, damaged, or not of this format.

    Example:
        >>> faces = PackedFaces("faces.npz", 16, shuffle=True)  # doctest: +SKIP
        >>> model.fit(faces, epochs=60)  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        batch_size: int = 16,
        shuffle: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_size, shuffle, seed, **kwargs)
        self._read(Path(path))
        self._set_count(len(self.images))

    def _read(self, path: Path) -> None:
        header = _header(path)
        side, k = header["side"], header["num_landmarks"]
        specs: dict[str, ArraySpec] = {
            "ends": ("i", (None,)),
            "jpeg": ("u", (None,)),
            "landmarks": ("i", (None, k, 2)),
            "visibility": ("u", (None, k)),
            "names": ("u", (None,)),
        }
        arrays = read_npz(path, specs, _MAX_MEMBER_BYTES)
        ends, jpeg = arrays["ends"].astype(np.int64), arrays["jpeg"].astype(np.uint8)
        count, starts = len(ends), np.concatenate([np.zeros(1, np.int64), ends[:-1]])
        if not count or (ends <= starts).any() or ends[-1] != len(jpeg):
            raise _damaged(path, "its images do not fill its member jpeg")
        limit = _FREE_BYTES + _TIMES_FILE * path.stat().st_size
        if count * side * side * 3 > limit:
            raise _damaged(
                path, f"{count} crops of {side} pixels need more memory than {limit} bytes"
            )
        for name in ("landmarks", "visibility"):
            if len(arrays[name]) != count:
                raise _damaged(path, f"{count} images have {len(arrays[name])} {name}")
        if (highest := arrays["visibility"].max(initial=0)) > 2:
            raise _damaged(path, f"a landmark has visibility {highest} instead of 0, 1 or 2")
        names = arrays["names"].astype(np.uint8).tobytes().decode("utf-8", "replace")
        self.file_names = names.split("\n")[:-1]
        if len(self.file_names) != count:
            raise _damaged(path, f"{count} images have {len(self.file_names)} names")
        self.input_size = header["input_size"]
        self.landmarks = arrays["landmarks"].astype(np.float32) * np.float32(_UNIT)
        self.visibility = arrays["visibility"].astype(np.float32)
        self.images = np.empty((count, side, side, 3), np.uint8)

        def decode(i: int) -> None:
            file = jpeg[starts[i] : ends[i]].tobytes()
            self.images[i] = _decode(file, side, f"{path}: image {i} ({self.file_names[i]})")

        with ThreadPoolExecutor() as pool:
            list(pool.map(decode, range(count)))

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        chosen = self._chosen(index)
        batch = {
            "image": self.images[chosen],
            "landmarks": self.landmarks[chosen],
            "visibility": self.visibility[chosen],
        }
        return self._marked(index, batch)


def _damaged(path: Path, reason: str) -> FaceAlignError:
    return FaceAlignError(f"{path} is damaged ({reason}); write it again with pack.")


def _header(path: Path) -> dict[str, int]:
    content = read_npz(path, {"header": ("u", (None,))}, 10_000)["header"].tobytes()
    header = parse_json(content, f"{path}: its header", "write it again with pack")
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise _damaged(path, "it is of another format")
    if header.get("version") != _VERSION:
        raise FaceAlignError(
            f"{path} is of version {header.get('version')!r} of its format, and this release reads "
            f"{_VERSION}; pack the faces again."
        )
    limits = {"side": _MAX_SIDE, "input_size": _MAX_SIDE, "num_landmarks": 10_000}
    for name, highest in limits.items():
        value = header.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= highest:
            raise _damaged(path, f"{name} is {value!r}")
    side, input_size = header["side"], header["input_size"]
    if input_size > side or (side - input_size) % 2:
        raise _damaged(path, f"side is {side} and input_size {input_size}")
    return header


def _decode(file: bytes, side: int, name: str) -> np.ndarray:
    """Decodes a JPEG file as uint8 (side, side, 3) RGB."""
    size = _jpeg_size(file)
    if size != (side, side):
        # Checked in the file's header, before a decoder allocates more.
        raise FaceAlignError(
            f"{name} is not a JPEG of {side} x {side} pixels; pack the faces again."
        )
    image = _decode_pixels(file)
    if image is None:
        raise FaceAlignError(f"{name} cannot be decoded; pack the faces again.")
    return image


def _decode_pixels(file: bytes) -> np.ndarray | None:
    """uint8 (H, W, 3) RGB, decoded by OpenCV or else Pillow; None if it cannot be decoded."""
    try:
        import cv2
    except ImportError:
        from PIL import Image

        try:
            return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        except Exception:  # Pillow's plugins raise many kinds of error
            return None
    try:
        image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else image[..., ::-1]


def _jpeg_size(file: bytes) -> tuple[int, int] | None:
    """Height and width from a JPEG's frame header; None if there is none."""
    if file[:2] != b"\xff\xd8":
        return None
    place = 2
    while place + 9 <= len(file) and file[place] == 0xFF:
        marker, length = file[place + 1], int.from_bytes(file[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            sizes = file[place + 5 : place + 9]
            return int.from_bytes(sizes[:2], "big"), int.from_bytes(sizes[2:], "big")
        place += 2 + length
    return None
