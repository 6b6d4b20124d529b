"""Faces in one file: crops as JPEGs with their labels, small enough to send anywhere.

Training needs of a picture only the face and a border around it. `pack` cuts those out and writes
them, re-encoded, as one `.npz` archive without pickled objects; `PackedFaces` reads it back as
batches. Reading needs NumPy and OpenCV or Pillow, nothing else.

The archive's members, all one-dimensional where nothing else is said:

* `header`: uint8, JSON with the keys format, version, side, input_size, num_landmarks;
* `jpeg`: uint8, the JPEG files one after the other; `ends`: int64 (N,), where each of them ends;
* `landmarks`: int16 (N, K, 2), in units of 1/64 pixel of the crop, x before y;
* `visibility`: uint8 (N, K), 0 where a landmark has no position;
* `names`: uint8, the N file names as UTF-8, a line feed after each.

Faces are people's. A packed file is under the license of the data sets that it is made of, and does
not belong into a repository.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.epochs import EpochBatches
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_write

__all__ = ["MAX_BYTES", "PackedFaces", "pack"]

MAX_BYTES = 25 * 2**20
"""Largest file that `pack` writes unless the caller says otherwise."""

_FORMAT, _VERSION = "keras_facealign packed faces", 1
# Landmarks are whole numbers of this part of a pixel, which reaches 512 pixels either way.
_UNIT = 1 / 64
# Nothing that is worth packing is larger than this, decoded.
_MAX_MEMBER_BYTES = 2**31
_MAX_PIXEL_BYTES = 2**35
_MAX_SIDE = 1024


def pack(
    examples: Iterable[Any],
    path: str | os.PathLike[str],
    quality: int = 85,
    side: int = 192,
    input_size: int = 128,
    boxes: Mapping[str, Any] | None = None,
    max_bytes: int = MAX_BYTES,
) -> int:
    """Writes faces as one file.

    Args:
        examples: `FaceExample`s of `keras_facealign.data`, or mappings with the same keys. Faces
            whose landmarks all have visibility 0 are for training without labels; they need a box.
        path: The file to write, `.npz`.
        quality: JPEG quality of the crops, 1 to 100. The default takes about 7 kB a crop.
        side: Side of a crop in pixels.
        input_size: Side of the middle part that the network is to look at, in pixels; what is left
            of `side` is the border, which augmentation may bring into view.
        boxes: Boxes to crop by instead of the examples' own, by file name; see `FaceBatches`.
        max_bytes: Largest file.

    Returns:
        The number of faces.

    Raises:
        FaceAlignError: If there are no examples, one is damaged or has another number of landmarks,
            or the file would be larger than `max_bytes`.

    Example:
        >>> from keras_facealign.data.readers.ibug_300w import load_samples
        >>> pack(load_samples("300w", "train"), "faces.npz")  # doctest: +SKIP
        2010
    """
    from keras_facealign.data.batches import _fields, _given_box, crop_with_border

    _check_sizes(quality, side, input_size)
    files: list[bytes] = []
    landmarks, visibility, names = [], [], []
    border = (side - input_size) // 2
    for given in examples:
        example = _fields(given)
        if boxes is not None:
            example["box"] = _given_box(boxes, example)
        name = example["file_name"]
        image, points = crop_with_border(
            example["image"], example["landmarks"], example["box"], input_size, border
        )
        if visibility and example["visibility"].shape != visibility[0].shape:
            raise FaceAlignError(
                f"{name}: has {len(points)} landmarks, but {names[0]} has {len(visibility[0])}; "
                "pack one landmark scheme at a time."
            )
        files.append(_encode(image, quality))
        landmarks.append(_in_units(points, example["visibility"], name))
        visibility.append(np.asarray(example["visibility"], np.uint8))
        names.append(name.replace("\n", " "))
    if not files:
        raise FaceAlignError("There are no examples to pack; check the data folder.")
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "side": side,
        "input_size": input_size,
        "num_landmarks": len(visibility[0]),
    }
    members = {
        "header": _bytes(json.dumps(header).encode()),
        "jpeg": _bytes(b"".join(files)),
        "ends": np.cumsum([len(file) for file in files], dtype=np.int64),
        "landmarks": np.stack(landmarks),
        "visibility": np.stack(visibility),
        "names": _bytes("".join(f"{name}\n" for name in names).encode()),
    }
    content = io.BytesIO()
    np.savez_compressed(content, **members)
    size = content.getbuffer().nbytes
    if size > max_bytes:
        raise FaceAlignError(
            f"{path} would have {size} bytes, more than {max_bytes}; lower quality ({quality}) or "
            f"side ({side}), or pack fewer faces."
        )
    atomic_write(path, lambda file: file.write(content.getbuffer()))
    return len(files)


def _check_sizes(quality: int, side: int, input_size: int) -> None:
    if not 1 <= quality <= 100:
        raise FaceAlignError(f"quality is {quality}; give 1 to 100.")
    if not 1 <= input_size <= side <= _MAX_SIDE or (side - input_size) % 2:
        raise FaceAlignError(
            f"side is {side} and input_size {input_size}; give an even border around the input, "
            f"and at most {_MAX_SIDE} pixels."
        )


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
        shuffle: Whether each epoch has an order of its own, with a last short batch left out.
        seed: Integer.
        **kwargs: As for every `keras.utils.PyDataset`.

    Attributes:
        images: uint8 (N, side, side, 3), RGB.
        landmarks: float32 (N, K, 2), pixels of the crops; (0, 0) where visibility is 0.
        visibility: float32 (N, K).
        file_names: N names of the pictures.
        input_size: Side of the part that a network is to look at, in pixels.

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
        try:
            with zipfile.ZipFile(path) as archive:
                header = _header(archive, path)
                side, k = header["side"], header["num_landmarks"]
                ends = _member(archive, path, "ends", np.int64, (None,))
                count = len(ends)
                jpeg = _member(archive, path, "jpeg", np.uint8, (None,))
                units = _member(archive, path, "landmarks", np.int16, (count, k, 2))
                visibility = _member(archive, path, "visibility", np.uint8, (count, k))
                names = _member(archive, path, "names", np.uint8, (None,)).tobytes()
        except FaceAlignError:
            raise
        except FileNotFoundError as error:
            raise FaceAlignError(f"{path}: there is no such file; write it with pack.") from error
        except Exception as error:  # zipfile, zlib and NumPy meet damage with errors of every kind
            raise _damaged(path, str(error).partition("\n")[0] or type(error).__name__) from error
        starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
        if not count or (ends <= starts).any() or ends[-1] != len(jpeg):
            raise _damaged(path, "its pictures do not fill its member jpeg")
        if count * side * side * 3 > _MAX_PIXEL_BYTES:
            raise _damaged(path, f"{count} crops of {side} pixels are more than memory should hold")
        self.file_names = names.decode("utf-8", "replace").split("\n")[:-1]
        if len(self.file_names) != count:
            raise _damaged(path, f"{count} pictures have {len(self.file_names)} names")
        self.input_size = header["input_size"]
        self.landmarks = units.astype(np.float32) * np.float32(_UNIT)
        self.visibility = visibility.astype(np.float32)
        self.images = np.empty((count, side, side, 3), np.uint8)

        def decode(i: int) -> None:
            file = jpeg[starts[i] : ends[i]].tobytes()
            self.images[i] = _decode(file, side, f"{path}: picture {i} ({self.file_names[i]})")

        with ThreadPoolExecutor() as pool:
            list(pool.map(decode, range(count)))

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        chosen = self._chosen(index)
        return {
            "image": self.images[chosen],
            "landmarks": self.landmarks[chosen],
            "visibility": self.visibility[chosen],
        }


def _damaged(path: Path, reason: str) -> FaceAlignError:
    return FaceAlignError(
        f"{path} is not a whole packed file ({reason}); write it again with pack."
    )


def _header(archive: zipfile.ZipFile, path: Path) -> dict[str, int]:
    header = json.loads(_member(archive, path, "header", np.uint8, (None,), 10_000).tobytes())
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise _damaged(path, "it is of another format")
    if header.get("version") != _VERSION:
        raise FaceAlignError(
            f"{path} is of version {header.get('version')!r} of its format, and this release reads "
            f"{_VERSION}; pack the faces again."
        )
    for name, highest in (
        ("side", _MAX_SIDE),
        ("input_size", _MAX_SIDE),
        ("num_landmarks", 10_000),
    ):
        value = header.get(name)
        if not isinstance(value, int) or not 1 <= value <= highest:
            raise _damaged(path, f"{name} is {value!r}")
    return header


def _member(
    archive: zipfile.ZipFile,
    path: Path,
    name: str,
    dtype: Any,
    shape: tuple[int | None, ...],
    max_bytes: int = _MAX_MEMBER_BYTES,
) -> np.ndarray:
    """Reads an array whose type and shape are known; nothing is allocated before they are checked.

    Args:
        archive: The open file.
        path: Its path, for messages.
        name: The member, without NumPy's `.npy`.
        dtype: The type it must have.
        shape: The shape it must have; None for an axis of any length.
        max_bytes: How large it may be.
    """
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise _damaged(path, f"{name} is an array of version {version}")
        found, fortran, found_dtype = np.lib.format.read_array_header_1_0(file)
        fits = len(found) == len(shape) and all(
            want is None or want == have for want, have in zip(shape, found, strict=True)
        )
        if found_dtype != np.dtype(dtype) or fortran or not fits:
            raise _damaged(path, f"{name} is {found_dtype} {found}")
        size = int(np.prod(found, dtype=object)) * np.dtype(dtype).itemsize
        if size > max_bytes or size > info.file_size:
            raise _damaged(path, f"{name} claims {size} bytes")
        content = file.read(size)
    if len(content) != size:
        raise _damaged(path, f"{name} ends too early")
    return np.frombuffer(content, dtype).reshape(found)


def _decode(file: bytes, side: int, name: str) -> np.ndarray:
    """The picture of a JPEG file, uint8 (side, side, 3) RGB."""
    size = _jpeg_size(file)
    if size != (side, side):
        # Said by the file itself, before a decoder makes room for more.
        raise FaceAlignError(f"{name} is no JPEG of {side} x {side} pixels; pack the faces again.")
    image = _decode_pixels(file)
    if image is None:
        raise FaceAlignError(f"{name} cannot be decoded; pack the faces again.")
    return image


def _decode_pixels(file: bytes) -> np.ndarray | None:
    """uint8 (H, W, 3) RGB; by Pillow where there is no OpenCV; None if neither can."""
    try:
        import cv2
    except ImportError:
        from PIL import Image

        try:
            return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        except Exception:  # Pillow's plugins raise many kinds of error
            return None
    image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
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
