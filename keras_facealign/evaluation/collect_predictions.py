"""Looks at labeled faces through a network, as a detector's box would show them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_facealign import geometry
from keras_facealign.calibration.fitting import Observations
from keras_facealign.calibration.formula import spread_of_heatmaps, turn_of_faces, turn_sides
from keras_facealign.data.batches import BoxJitter
from keras_facealign.data.examples import FaceExample
from keras_facealign.data.reregistration import register_labels
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import crop_face
from keras_facealign.prediction import landmark_outputs

if TYPE_CHECKING:
    from keras_facealign.models import FaceAlignModel

__all__ = ["observe"]

# A larger mean distance, in units of the labels' box, is a wrong label rather than an error.
_MAX_RESIDUAL = 0.08
_BATCH = 32


def observe(
    model: FaceAlignModel,
    examples: Iterable[FaceExample],
    views: int = 4,
    register: bool = True,
    seed: int = 0,
    on_face: Callable[[], Any] | None = None,
    without: Sequence[int] = (),
) -> Observations:
    """Notes what a network says of labeled faces and how far from their labels it is.

    Each face is seen in several views, the boxes drawn around the labels' own as detectors' stray,
    every other view mirrored.

    Where labels are shifted and scaled as a whole (see `keras_facealign.data.reregistration`), they
    are first moved onto the prediction by the scaling and shift that fit best. That also takes away
    what of the network's own error is a shift or scaling of the whole face, so errors come out too
    small; on faces with exact labels, by a twentieth of the root mean square, nearly all of it
    where the network is surest.

    Args:
        model: The network, with its weights.
        examples: Labeled faces; landmarks of visibility 0 have no position.
        views: Views of each face; an even number shows each as often mirrored as not.
        register: Whether labels are moved onto the prediction before errors are taken.
        seed: Decides the boxes.
        on_face: Called after each face.
        without: Landmarks whose labels mean another place than the network's, such as the jaw of
            faces labeled in 2D for a network of 3D landmarks; no errors are taken there.

    Returns:
        What was seen, a row a view.

    Raises:
        FaceAlignError: If there is no face, or one has another number of landmarks.
    """
    scheme, size = model.scheme, model.input_size
    if views < 1:
        raise FaceAlignError(f"views is {views}; each face takes at least 1.")
    rng = np.random.default_rng(seed)
    crops: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    visibility: list[np.ndarray] = []
    said: list[dict[str, np.ndarray]] = []
    faces = 0
    for example in examples:
        if len(example.landmarks) != scheme.num_landmarks:
            raise FaceAlignError(
                f"{example.file_name} has {len(example.landmarks)} landmarks, but the network "
                f"{scheme.num_landmarks}."
            )
        for view in range(views):
            matrix = geometry.crop_matrix(BoxJitter().apply(example.box, rng), size)
            crop = crop_face(example.image, matrix, size)
            points = geometry.transform_points(matrix, example.landmarks)
            marks = example.visibility
            if view % 2 and scheme.has_flip_pairs:
                crop = crop[:, ::-1]
                points = (points * [-1.0, 1.0] + [size - 1.0, 0.0])[scheme.flip_permutation]
                marks = marks[scheme.flip_permutation]
            crops.append(crop)
            labels.append(points)
            visibility.append(marks)
        faces += 1
        while len(crops) >= _BATCH:
            said.append(_predict_batch(model, crops[:_BATCH]))
            del crops[:_BATCH]
        if on_face is not None:
            on_face()
    if crops:
        said.append(_predict_batch(model, crops))
    if not said:
        raise FaceAlignError("There is no face to look at; check the folder, split and part.")
    outputs = {name: np.concatenate([part[name] for part in said]) for name in said[0]}
    marks = np.stack(visibility).astype(np.int32)
    points = np.where(marks[..., None] > 0, np.stack(labels), np.nan)
    points[:, list(without)] = np.nan
    errors, left_out = _errors(outputs["landmarks"], points, register)
    return Observations(
        scheme=scheme,
        input_size=size,
        spread=outputs["spread"],
        confidence=outputs["confidence"],
        turn=outputs["turn"],
        errors=errors,
        unregistered=_distance(outputs["landmarks"], points),
        visibility=marks,
        face=np.repeat(np.arange(faces, dtype=np.int32), views),
        left_out=left_out,
    )


def _predict_batch(model: FaceAlignModel, crops: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Landmarks, confidence, spread of the heatmaps and yaw of the faces in crops."""
    maps = model.predict_heatmaps(np.stack(crops), _BATCH)
    outputs = landmark_outputs(
        maps["heatmaps"],
        maps.get("frames"),
        input_size=model.input_size,
        decode_method=model.decode_method,
        landmark_offset=model.landmark_offset,
    )
    outputs["spread"] = spread_of_heatmaps(maps["heatmaps"], model.input_size)
    outputs["turn"] = turn_of_faces(outputs["landmarks"], turn_sides(model.scheme))
    return outputs


def _errors(found: np.ndarray, labels: np.ndarray, register: bool) -> tuple[np.ndarray, int]:
    """Distances (N, K) from labels, which are NaN where there are none, and rows left out."""
    if not register:
        return _distance(found, labels), 0
    moved, left_out = np.full_like(labels, np.nan), 0
    for i, (points, seen) in enumerate(zip(labels, found, strict=True)):
        known = np.isfinite(points).all(axis=1)
        side = np.ptp(points[known], axis=0).max()
        fit = register_labels(points[known], seen[known], _MAX_RESIDUAL * side)
        if fit is None:
            left_out += 1
            continue
        scale, shift = fit
        moved[i] = scale * points + shift
    return _distance(found, moved), left_out


def _distance(found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found - labels, axis=-1).astype(np.float32)
