"""From a photo to the landmarks of its faces: detect, crop, predict, map back."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any, overload

import numpy as np

from keras_facealign import geometry
from keras_facealign._deprecated import renamed_arguments
from keras_facealign.data.images import read_image
from keras_facealign.detection import Detection, Detector, as_detections, get_detector
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import crop_face
from keras_facealign.inference.reliability import belief
from keras_facealign.prediction import check_flip_pairs
from keras_facealign.prediction.concurrency import PerProcess
from keras_facealign.runtimes import check_runtime, choose_runtime, load_model


@dataclass(frozen=True, eq=False)
class Face:
    """One face of an image.

    Args:
        landmarks: float32 (K, 2), x before y, 0-based pixels of the upright image.
        confidence: float32 (K,), 0 to 1 for each landmark.
        box: float32 (4,), x0, y0, x1, y1 in the same pixels: the box that the crop was made from.
            To lie on a face that leans, it has to be turned about its center by `roll`.
        score: Confidence of the detector, 0 to 1; 1 for given boxes.
        sigma: float32 (K,), standard deviation of each landmark in pixels; None if the model is not
            calibrated.
        visibility: float32 (K,), probability that each landmark is not hidden; None likewise.
        roll: Degrees by which the crop was turned upright, -180 to 180: how far the face leans
            clockwise on the screen. 0 for given boxes.
        reliable: Whether confidence and visibility are those of a face. If not, this is likely no
            face, or one that is mostly hidden, and its landmarks mean little.
    """

    landmarks: np.ndarray
    confidence: np.ndarray
    box: np.ndarray
    score: float = 1.0
    sigma: np.ndarray | None = None
    visibility: np.ndarray | None = None
    roll: float = 0.0
    reliable: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Converts to lists and numbers for JSON; pixels are rounded to three decimals."""
        record = {
            "box": _rounded(self.box, 3),
            "roll": round(float(self.roll), 2),
            "score": round(float(self.score), 4),
            "reliable": bool(self.reliable),
            "landmarks": _rounded(self.landmarks, 3),
            "confidence": _rounded(self.confidence, 4),
        }
        if self.sigma is not None:
            record["sigma"] = _rounded(self.sigma, 3)
        if self.visibility is not None:
            record["visibility"] = _rounded(self.visibility, 4)
        return record


def _rounded(values: np.ndarray, decimals: int) -> list[Any]:
    return np.asarray(values, np.float64).round(decimals).tolist()


@dataclass
class _Pending:
    """A cropped face that waits for the next batch."""

    crop: np.ndarray
    matrix: np.ndarray
    detection: Detection
    image_index: int
    detected: bool


class FaceAligner:
    """Finds the faces of photos and their landmarks.

    Args:
        model: A `FaceAlignModel`, an `ExportedModel`, or any object with `input_size` and their
            `predict_landmarks` or `predict_outputs`.
        detector: `"auto"` for the best one here, BlazeFace; `"blazeface"` or `"mtcnn"`, which are
            loaded when first needed; any callable from a `(H, W, 3)` uint8 RGB image to a list of
            boxes or `Detection`s; or None if boxes are always given.
        runtime: "keras" is the model itself; "openvino" is a float32 copy on the CPU, equal up to
            rounding and faster; "openvino_bfloat16" is faster still on CPUs with AVX512_BF16 and
            moves landmarks by about 0.02 pixels of the crop; "litert" and "onnx" run exported files
            of these kinds and do not need Keras. "auto" is the fastest one available: for a Keras
            model "openvino" where it is installed and supports the model, and "keras" otherwise and
            on a GPU; see `from_preset` for presets. The copy is made with the first photo: later
            changes of the weights have no effect on it.
        flip_test: Whether to average the predictions for every face and its mirror image: more
            accurate, in twice the network's time. With `sat1_cab_mobile` the error falls by 2 %
            (see `keras_facealign.prediction.flip_test`).

    Raises:
        FaceAlignError: If the detector or the runtime is unknown, or `flip_test` is asked for and
            the model's landmark scheme does not define flip pairs.

    Example:
        >>> aligner = FaceAligner.from_preset("sat1_cab_mobile")  # doctest: +SKIP
        >>> for face in aligner.align("photo.jpg"):  # doctest: +SKIP
        ...     print(face.box, face.landmarks[30])
    """

    @renamed_arguments(mirror="flip_test")
    def __init__(
        self,
        model: Any,
        detector: str | Detector | None = "auto",
        runtime: str = "auto",
        flip_test: bool = False,
    ) -> None:
        check_runtime(runtime)
        if flip_test:
            check_flip_pairs(getattr(model, "scheme", None), type(model).__name__)
        self.model = model
        self.flip_test = flip_test
        self.detector = get_detector(detector)
        # The metadata of an exported file states the crops that its network was trained on.
        self._crop_scale = getattr(model, "crop_scale", geometry.CROP_SCALE)
        # Compiled lazily: it takes about 1 s and may not be needed.
        self._network = PerProcess(partial(choose_runtime, model, runtime))

    @property
    def runtime(self) -> str:
        """Name of the runtime in use, with "auto" resolved.

        Raises:
            FaceAlignError: If the requested runtime is not installed or cannot run this model.
        """
        return self._network.get()[0]

    @classmethod
    @renamed_arguments(mirror="flip_test")
    def from_preset(
        cls,
        name: str | Path,
        detector: str | Detector | None = "auto",
        load_weights: bool = True,
        runtime: str = "auto",
        flip_test: bool = False,
    ) -> FaceAligner:
        """Makes an aligner of a bundled preset or an exported file.

        Args:
            name: Name of a preset (see `keras_facealign.presets.list_presets`), a folder that holds
                one, or a `.tflite` or `.onnx` file that `keras-facealign export` wrote.
            detector: As in the constructor.
            load_weights: False for the untrained architecture, with random weights.
            runtime: As in the constructor. "litert" takes the preset's `model.tflite`. So does
                "auto", if there is such a file, LiteRT is installed, and Keras has no GPU: LiteRT
                is the fastest on processors, and `model` is an `ExportedModel` then. For all other
                presets "auto" is what it is for a Keras model.
            flip_test: As in the constructor.

        Raises:
            FaceAlignError: If there is no such preset or runtime, the file cannot be used, or its
                landmark scheme does not define flip pairs.

        Example:
            >>> FaceAligner.from_preset("face.tflite").runtime  # doctest: +SKIP
            'litert'
        """
        return cls(load_model(name, runtime, load_weights), detector, runtime, flip_test)

    def align(
        self, image: Any, boxes: Any = None, name: str | None = None, batch_size: int = 32
    ) -> list[Face]:
        """Finds the faces of one photo and their landmarks.

        Args:
            image: Path, encoded bytes, PIL image, or NumPy array with values 0 to 255:
                (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) gray. A rotation in the file's EXIF data is
                applied first, so all coordinates are those of the upright photo.
            boxes: (N, 4) or one (4,): x0, y0, x1, y1 in pixels, tight around brows and chin.
                Default: the detector finds them.
            name: Name of the photo in error messages. Default: its path.
            batch_size: Maximum number of faces in one call of the network.

        Returns:
            The faces: in the order of `boxes`, or, where the detector found them, the reliable
            ones first, and the largest first among them. Empty where there is none.

        Raises:
            FaceAlignError: If the photo cannot be read, a box is unusable, or there are neither
                boxes nor a detector.
        """
        if _is_one_box(boxes):
            boxes = [boxes]
        names = None if name is None else [name]
        return self.align_batch([image], [boxes], names, batch_size)[0]

    @overload
    def align_batch(
        self,
        images: Iterable[Any],
        boxes: Sequence[Any] | None = None,
        names: Sequence[str] | None = None,
        batch_size: int = 32,
    ) -> list[list[Face]]: ...

    @overload
    def align_batch(
        self,
        images: Iterable[Any],
        boxes: Sequence[Any] | None = None,
        names: Sequence[str] | None = None,
        batch_size: int = 32,
        *,
        on_error: str,
    ) -> list[list[Face] | Exception]: ...

    def align_batch(
        self,
        images: Iterable[Any],
        boxes: Sequence[Any] | None = None,
        names: Sequence[str] | None = None,
        batch_size: int = 32,
        *,
        on_error: str = "raise",
    ) -> Any:
        """Finds the faces of many photos; faces of different photos share the network's batches.

        Photos are read one at a time, so `images` may be a generator over a large collection.

        Args:
            images: Photos as in `align`.
            boxes: For each photo (N, 4) boxes, or None where the detector is to find them. Default:
                None for all.
            names: Names of the photos in error messages.
            batch_size: Number of faces in one call of the network.
            on_error: What happens to a photo that cannot be read or searched. "raise" stops there;
                the error's `results` are the faces of all photos before it. "return" puts the error
                in place of the photo's faces and goes on.

        Returns:
            For each photo its faces, as from `align`, or with `on_error="return"` an exception.

        Raises:
            FaceAlignError: As in `align`, naming the photo; or if `boxes` or `names` has another
                length than `images`, or `on_error` is unknown.

        Example:
            >>> found = aligner.align_batch(paths, on_error="return")  # doctest: +SKIP
            >>> broken = [e for e in found if isinstance(e, Exception)]  # doctest: +SKIP
        """
        if on_error not in ("raise", "return"):
            raise FaceAlignError(f"on_error is {on_error!r}; choose raise or return")
        if batch_size < 1:
            raise FaceAlignError(f"batch_size is {batch_size}; give at least 1")
        one_image = isinstance(images, (str, bytes)) or not isinstance(images, Iterable)
        if one_image or (isinstance(images, np.ndarray) and images.ndim in (2, 3)):
            raise FaceAlignError("align_batch takes a list of images; use align for one image")
        faces: list[Any] = []
        pending: list[_Pending] = []
        try:
            for index, image in enumerate(images):
                given = _item(boxes, index, "boxes")
                name = _item(names, index, "names") or _default_name(image, index)
                try:
                    crops = self._crops(image, given, name, index)
                except Exception as error:
                    if on_error == "raise":
                        raise
                    faces.append(_without_locals(error))
                    continue
                faces.append([])
                pending += crops
                while len(pending) >= batch_size:
                    self._predict(pending[:batch_size], faces)
                    del pending[:batch_size]
            for extra, label in ((boxes, "boxes"), (names, "names")):
                if extra is not None and len(extra) != len(faces):
                    raise FaceAlignError(
                        f"{label} has {len(extra)} entries for {len(faces)} images; give one for "
                        "each"
                    )
            if pending:
                self._predict(pending, faces)
        except Exception as error:
            error.results = self._complete(pending, faces)  # type: ignore[attr-defined]
            raise
        return faces

    def _complete(self, pending: list[_Pending], faces: list[Any]) -> list[Any]:
        """Finishes the photos before an error: all, unless it is the network that fails."""
        if pending:
            try:
                self._predict(pending, faces)
            except Exception:
                return faces[: pending[0].image_index]
        return faces

    def _crops(self, image: Any, boxes: Any, name: str, index: int) -> list[_Pending]:
        pixels = read_image(image, name=name)
        size = (pixels.shape[1], pixels.shape[0])
        if boxes is not None:
            detections = as_detections(boxes, size, name)
        elif self.detector is None:
            raise FaceAlignError(f"{name}: no boxes given, and this aligner has no detector")
        else:
            detections = as_detections(self.detector(pixels), size, name)
            detections.sort(key=lambda d: -_area(d.box))
        pending = []
        for detection in detections:
            matrix = geometry.crop_matrix(
                detection.box, self.model.input_size, self._crop_scale, detection.roll
            )
            crop = crop_face(pixels, matrix, self.model.input_size)
            pending.append(_Pending(crop, matrix, detection, index, boxes is None))
        return pending

    def _predict(self, batch: list[_Pending], faces: list[Any]) -> None:
        """Predicts the faces of a batch and appends them to the lists of their photos."""
        outputs = self._outputs([item.crop for item in batch])
        beliefs = _beliefs(outputs, batch)
        # A detector that misjudged the angle, or knows of none: search in turned crops.
        doubtful = [k for k, item in enumerate(batch) if item.detected and not beliefs[k] >= 0]
        if doubtful:
            batch = list(batch)
            turned = [_turned(batch[k], turns) for k in doubtful for turns in (1, 2, 3)]
            others = self._outputs([item.crop for item in turned])
            ratings = _beliefs(others, turned)
            for place, index in enumerate(doubtful):
                rated = ratings[3 * place : 3 * place + 3]
                # If none is believed either, the rating says nothing about the angle: of profiles,
                # which hide half their landmarks, a third would be turned over.
                if rated.max() >= 0:
                    chosen = 3 * place + int(rated.argmax())
                    batch[index], beliefs[index] = turned[chosen], rated.max()
                    for name in outputs:
                        outputs[name][index] = others[name][chosen]
        self._append(batch, outputs, beliefs >= 0, faces)

    def _outputs(self, crops: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the network once."""
        _, network = self._network.get()
        outputs = network.predict_outputs(np.stack(crops), len(crops), self.flip_test)
        return {name: np.asarray(values).astype(np.float64) for name, values in outputs.items()}

    @staticmethod
    def _append(
        batch: list[_Pending],
        outputs: dict[str, np.ndarray],
        reliable: np.ndarray,
        faces: list[Any],
    ) -> None:
        """Maps predictions back to the photos."""
        # float64 stays accurate to a tenth of a pixel in images 100 000 pixels wide.
        inverse = geometry.invert(np.stack([item.matrix for item in batch]).astype(np.float64))
        arrays = dict(outputs)
        arrays["landmarks"] = geometry.transform_points(inverse, outputs["landmarks"])
        if "sigma" in arrays:
            arrays["sigma"] = (
                arrays["sigma"] * np.hypot(inverse[:, 0, 0], inverse[:, 1, 0])[:, None]
            )
        for index, item in enumerate(batch):
            fields = {name: np.asarray(v[index], np.float32) for name, v in arrays.items()}
            found = item.detection
            face = Face(
                box=found.box,
                score=found.score,
                roll=found.roll,
                reliable=bool(reliable[index]),
                **fields,
            )
            others = faces[item.image_index]
            first = item.detected and face.reliable
            others.insert(sum(f.reliable for f in others) if first else len(others), face)


def _beliefs(outputs: dict[str, np.ndarray], batch: list[_Pending]) -> np.ndarray:
    scores = np.array([item.detection.score for item in batch])
    return belief(outputs["confidence"], outputs.get("visibility"), scores)


def _turned(item: _Pending, turns: int) -> _Pending:
    """Turns the crop of a face counterclockwise by quarter turns; the box stays on the face."""
    middle = (item.crop.shape[0] - 1) / 2
    matrix = geometry.compose(geometry.turn_matrix(-90 * turns, (middle, middle)), item.matrix)
    detection, box = item.detection, np.asarray(item.detection.box, np.float32)
    if turns % 2:
        center, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2])[::-1] / 2
        box = np.concatenate([center - half, center + half])
    roll = (detection.roll + 90 * turns + 180) % 360 - 180
    return replace(
        item,
        crop=np.ascontiguousarray(np.rot90(item.crop, turns)),
        matrix=matrix,
        detection=replace(detection, box=box, roll=roll),
    )


def _without_locals(error: Exception) -> Exception:
    """Frees the photo, which the frames of an error that is kept would hold on to."""
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    return error


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _is_one_box(boxes: Any) -> bool:
    sized = isinstance(boxes, (list, tuple, np.ndarray))
    return sized and len(boxes) == 4 and all(isinstance(v, (Real, np.number)) for v in boxes)


def _item(values: Sequence[Any] | None, index: int, label: str) -> Any:
    if values is None:
        return None
    if index >= len(values):
        raise FaceAlignError(f"{label} has {len(values)} entries, fewer than there are images")
    return values[index]


def _default_name(image: Any, index: int) -> str:
    return str(image) if isinstance(image, (str, PathLike)) else f"image {index}"
