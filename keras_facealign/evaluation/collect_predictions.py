"""Runs a network over labeled faces, cropped as a detector's boxes would crop them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_facealign import geometry
from keras_facealign.calibration.fitting import Observations
from keras_facealign.calibration.formula import face_sides, spread_of_heatmaps, yaw_asymmetry
from keras_facealign.data.batches import BoxJitter
from keras_facealign.data.examples import FaceExample
from keras_facealign.data.reregistration import register_labels
from keras_facealign.errors import FaceAlignError
from keras_facealign.prediction import landmark_outputs

if TYPE_CHECKING:
    from keras_facealign.models import FaceAlignModel

# A larger mean distance, in units of the labels' box, is a wrong label rather than an error.
_MAX_RESIDUAL = 0.08
_BATCH = 32


def collect_predictions(
    model: FaceAlignModel,
    examples: Iterable[FaceExample],
    views: int = 4,
    register: bool = True,
    seed: int = 0,
    on_face: Callable[[], Any] | None = None,
    without: Sequence[int] = (),
    unlabeled_is_hidden: bool = True,
) -> Observations:
    """Collects a network's outputs for labeled faces and their errors.

    Each face is cropped in several views, whose boxes deviate from the labels' as those of
    detectors do; every other view is mirrored.

    Where labels are shifted and scaled as a whole (see `keras_facealign.data.reregistration`), they
    are first moved onto the prediction by the best fitting scaling and shift. That also removes
    the part of the network's own error that is a shift or scaling of the whole face, so errors are
    underestimated; on faces with exact labels, by a twentieth of the root mean square, nearly all
    of it where the network is most certain.

    Args:
        model: The network, with its weights.
        examples: Labeled faces; landmarks of visibility 0 have no position.
        views: Views of each face; with an even number, half of them are mirrored.
        register: Whether labels are moved onto the prediction before errors are measured.
        seed: Seed of the boxes.
        on_face: Called after each face.
        without: Landmarks whose labels are defined differently from the network's, such as the jaw
            of faces labeled in 2D for a network of 3D landmarks; their errors are left out.
        unlabeled_is_hidden: Whether landmarks without a position are hidden by the head itself, as
            in MERL-RAV. Otherwise it is unknown whether they are.

    Returns:
        The observations, a row a view.

    Raises:
        FaceAlignError: If there is no face, or one has another number of landmarks.
    """
    if views < 1:
        raise FaceAlignError(f"views is {views}; each face needs at least 1.")
    rng = np.random.default_rng(seed)
    batch: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    parts: list[dict[str, np.ndarray]] = []
    faces = 0
    for example in examples:
        batch += _views(model, example, views, rng)
        faces += 1
        while len(batch) >= _BATCH:
            parts.append(_predict_batch(model, batch[:_BATCH]))
            del batch[:_BATCH]
        if on_face is not None:
            on_face()
    if batch:
        parts.append(_predict_batch(model, batch))
    if not parts:
        raise FaceAlignError("There is no face to predict; check the folder, split and part.")
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    visibility = outputs["visibility"].astype(np.int32)
    labels = np.where(visibility[..., None] > 0, outputs["labels"], np.nan)
    labels[:, list(without)] = np.nan
    if not unlabeled_is_hidden:
        visibility[visibility == 0] = -1
    found = outputs["landmarks"]
    registered, left_out = _register(found, labels) if register else (labels, 0)
    return Observations(
        scheme=model.scheme,
        input_size=model.input_size,
        spread=outputs["spread"],
        confidence=outputs["confidence"],
        yaw_asymmetry=outputs["yaw_asymmetry"],
        errors=_distance(found, registered),
        unregistered=_distance(found, labels),
        visibility=visibility,
        face=np.repeat(np.arange(faces, dtype=np.int32), views),
        left_out=left_out,
    )


def _views(
    model: FaceAlignModel, example: FaceExample, views: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields crop, labels in it, and visibility of each view of a face."""
    scheme, size = model.scheme, model.input_size
    if len(example.landmarks) != scheme.num_landmarks:
        raise FaceAlignError(
            f"{example.file_name} has {len(example.landmarks)} landmarks, but the network "
            f"{scheme.num_landmarks}; choose labels of the scheme {scheme.name!r}."
        )
    for view in range(views):
        matrix = geometry.crop_matrix(BoxJitter().apply(example.box, rng), size)
        crop = geometry.crop_face(example.image, matrix, size)
        points = geometry.transform_points(matrix, example.landmarks)
        if view % 2 and scheme.has_flip_pairs:
            swap = scheme.flip_permutation
            points = (points * [-1.0, 1.0] + [size - 1.0, 0.0])[swap]
            yield crop[:, ::-1], points, example.visibility[swap]
        else:
            yield crop, points, example.visibility


def _predict_batch(
    model: FaceAlignModel, batch: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Returns the labels of views, and the network's outputs for them."""
    crops, labels, visibility = map(np.stack, zip(*batch, strict=True))
    maps = model.predict_heatmaps(crops, _BATCH)
    outputs = landmark_outputs(
        maps["heatmaps"],
        maps.get("frames"),
        input_size=model.input_size,
        decode_method=model.decode_method,
        landmark_offset=model.landmark_offset,
    )
    sides = face_sides(model.scheme)
    return {
        "labels": labels,
        "visibility": visibility,
        "landmarks": outputs["landmarks"],
        "confidence": outputs["confidence"],
        "spread": spread_of_heatmaps(maps["heatmaps"], model.input_size),
        "yaw_asymmetry": yaw_asymmetry(outputs["landmarks"], sides),
    }


def _register(found: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Moves labels (N, K, 2) onto predictions; NaN for rows that do not fit, which it counts."""
    registered, left_out = np.full_like(labels, np.nan), 0
    for i, (points, prediction) in enumerate(zip(labels, found, strict=True)):
        known = np.isfinite(points).all(axis=1)
        side = np.ptp(points[known], axis=0).max()
        fit = register_labels(points[known], prediction[known], _MAX_RESIDUAL * side)
        if fit is None:
            left_out += 1
        else:
            registered[i] = fit[0] * points + fit[1]
    return registered, left_out


def _distance(found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found - labels, axis=-1).astype(np.float32)
