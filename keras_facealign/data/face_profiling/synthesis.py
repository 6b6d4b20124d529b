"""From one labeled face to its turned views, with the landmarks of the head in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_facealign.data.examples import FaceExample
from keras_facealign.data.face_profiling.camera import Camera
from keras_facealign.data.face_profiling.fitting import HeadFitter
from keras_facealign.data.face_profiling.model import MorphableModel
from keras_facealign.data.face_profiling.rendering import TurnableFace, visible_landmarks
from keras_facealign.data.face_profiling.silhouette import JAW
from keras_facealign.data.face_profiling.snapping import snapped_vertices
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import crop_matrix, landmarks_box, transform_points

__all__ = ["LABELS_VERSION", "TurnedView", "ViewSettings", "check_yaws", "turned_views"]

LABELS_VERSION = 3
"""Grows when the same face gets other labels than before, so that one folder never mixes both."""


@dataclass(frozen=True)
class ViewSettings:
    """Which views to make of a face.

    Attributes:
        yaws: Degrees to turn heads to, without sign: each head goes on the way that it is turned
            already. Steps that a head has passed are left out.
        jitter: Degrees by which each of them is shifted at random, at most, so that all poses
            occur.
        size: Side of the pictures in pixels.
        margin: Side of the picture in units of the longer side of the landmarks' box.
        either_way: A head turned by less degrees than this goes to a random side.
        worst_fit: Mean distance of the landmarks within the face from the fit, in units of the
            face's size, above which a face is refused.
    """

    yaws: tuple[float, ...] = (30.0, 50.0, 70.0, 90.0)
    jitter: float = 5.0
    size: int = 256
    margin: float = 2.0
    either_way: float = 8.0
    worst_fit: float = 0.05


@dataclass(frozen=True, eq=False)
class TurnedView:
    """A face as seen from one side.

    Attributes:
        image: uint8 (size, size, 3).
        landmarks: float32 (68, 2), projections of the head's own points, hidden ones too; pixels.
        depth: float32 (68,), pixels, larger nearer to the viewer.
        visibility: int32 (68,), 2 seen, 1 hidden by the head itself.
        pose: float32 (3,), pitch, yaw, roll in degrees as 300W-LP has them.
        turn: Degrees by which the head is turned about its own upright axis; near `pose`'s yaw for
            an upright head, and exactly what `ViewSettings.yaws` and `jitter` asked for.
    """

    image: np.ndarray
    landmarks: np.ndarray
    depth: np.ndarray
    visibility: np.ndarray
    pose: np.ndarray
    turn: float


def check_yaws(yaws: Sequence[float]) -> tuple[float, ...]:
    """Sorted yaws, once they are known to be some.

    Raises:
        FaceAlignError: There are none, one occurs twice, or one is not within 0 to 90 degrees.
    """
    if not yaws:
        raise FaceAlignError("No yaws are given; give some, such as 30,50,70,90")
    for yaw in yaws:
        if not 0 < yaw <= 90:
            raise FaceAlignError(f"Yaw {yaw:g} is not within 0 to 90 degrees; give it without sign")
    if len(set(yaws)) != len(yaws):
        raise FaceAlignError(f"A yaw occurs twice in {', '.join(f'{y:g}' for y in yaws)}")
    return tuple(sorted(float(yaw) for yaw in yaws))


def turned_views(
    example: FaceExample, fitter: HeadFitter, settings: ViewSettings, rng: np.random.Generator
) -> list[TurnedView]:
    """The face as it is and turned, each with the landmarks of the fitted head.

    Args:
        example: A face with 68 landmarks as 2D annotations have them, the jaw along the outline.
        fitter: What fits the head.
        settings: Which views.
        rng: Decides the side of frontal faces and the jitter.

    Returns:
        The unturned view, then the turned ones by growing yaw.

    Raises:
        FaceAlignError: The head cannot be fitted to the landmarks.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> views = turned_views(example, fitter, ViewSettings(), rng)  # doctest: +SKIP
        >>> [round(view.turn) for view in views]  # doctest: +SKIP
        [-12, -31, -48, -74, -88]
    """
    model = fitter.model
    fit = fitter.fit(example.landmarks, example.visibility)
    known = np.flatnonzero(example.visibility[JAW:] > 0) + JAW
    size = float(np.sqrt(np.prod(np.ptp(example.landmarks[example.visibility > 0], axis=0))))
    error = float(np.linalg.norm(fit.residuals[known], axis=1).mean()) / size
    if not error <= settings.worst_fit:
        raise FaceAlignError(
            f"{example.file_name}: the head misses the landmarks by {100 * error:.1f} % of the "
            f"face's size, over {100 * settings.worst_fit:g} %; check the labels"
        )
    vertices = snapped_vertices(model, fit)
    face = TurnableFace(example.image, vertices, model.triangles, fit.camera)
    own = fit.camera.own_yaw
    side = 1.0 if own >= 0 else -1.0
    if abs(own) < settings.either_way:
        side = float(rng.choice([-1.0, 1.0]))
    cameras = [fit.camera]
    # Drawn for every yaw, so that a fit that moves a little leaves the other views as they are.
    jitter = rng.uniform(-settings.jitter, settings.jitter, len(settings.yaws))
    for yaw, shift in zip(settings.yaws, jitter, strict=True):
        target = min(max(yaw + float(shift), 0.0), 90.0)
        if target > side * own + 1.0:
            cameras.append(fit.camera.turned(side * target - own, vertices.mean(axis=0)))
    return [_view(face, model, vertices, camera, settings) for camera in cameras]


def _view(
    face: TurnableFace,
    model: MorphableModel,
    vertices: np.ndarray,
    camera: Camera,
    settings: ViewSettings,
) -> TurnedView:
    pixels = camera.project(vertices)
    places = vertices[model.landmarks]
    places[:JAW] += model.jaw_shift
    marks = camera.project(places)
    crop = crop_matrix(landmarks_box(marks[:, :2]), settings.size, settings.margin)
    crop = crop.astype(np.float64)
    eyes = float(np.linalg.norm(np.diff(model.neutral[model.landmarks[[36, 45]]], axis=0)))
    return TurnedView(
        image=face.render(camera, crop, settings.size, settings.size),
        landmarks=np.asarray(transform_points(crop, marks[:, :2]), np.float32),
        depth=(marks[:, 2] * crop[0, 0]).astype(np.float32),
        visibility=visible_landmarks(
            pixels, model.triangles, model.landmarks, tolerance=0.07 * eyes * camera.scale
        ),
        pose=camera.angles.astype(np.float32),
        turn=camera.own_yaw,
    )
