"""Renders turned views of a labeled face, each with the landmarks of the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_facealign._deprecated import renamed_arguments
from keras_facealign.data.examples import FaceExample
from keras_facealign.data.face_profiling.camera import Camera
from keras_facealign.data.face_profiling.fitting import HeadFitter
from keras_facealign.data.face_profiling.model import MorphableModel
from keras_facealign.data.face_profiling.rendering import TurnableFace, visible_landmarks
from keras_facealign.data.face_profiling.silhouette import JAW
from keras_facealign.data.face_profiling.snapping import snapped_vertices
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import crop_matrix, landmarks_box, transform_points

LABELS_VERSION = 3
"""Version of the labels; it increases when the same face gets other labels than before."""


@renamed_arguments(margin="crop_scale")
@dataclass(frozen=True)
class ViewSettings:
    """Views to render of a face.

    Attributes:
        yaws: Target yaws in degrees, without sign: each head turns farther to its own side. Yaws
            that a head exceeds already are left out.
        jitter: Largest random change of each yaw in degrees, so that all poses occur.
        size: Side of the images in pixels.
        crop_scale: Side of the image in units of the longer side of the landmarks' box.
        either_way: A head with a smaller yaw than this, in degrees, turns to a random side.
        worst_fit: Largest mean error of the landmarks within the face, in units of the face's size;
            worse fits are refused.
    """

    yaws: tuple[float, ...] = (30.0, 50.0, 70.0, 90.0)
    jitter: float = 5.0
    size: int = 256
    crop_scale: float = 2.0
    either_way: float = 8.0
    worst_fit: float = 0.05


@dataclass(frozen=True, eq=False)
class TurnedView:
    """A face seen from one side.

    Attributes:
        image: uint8 (size, size, 3).
        landmarks: float32 (68, 2), projections of the head's points, hidden ones included; pixels.
        depth: float32 (68,), pixels, larger nearer to the viewer.
        visibility: int32 (68,), 2 visible, 1 hidden by the head itself.
        pose: float32 (3,), pitch, yaw, roll in degrees as in 300W-LP.
        turn: Rotation of the head about its own vertical axis in degrees: a yaw of `ViewSettings`
            plus its jitter; close to the yaw of `pose` for an upright head.
    """

    image: np.ndarray
    landmarks: np.ndarray
    depth: np.ndarray
    visibility: np.ndarray
    pose: np.ndarray
    turn: float


def check_yaws(yaws: Sequence[float]) -> tuple[float, ...]:
    """Checks and sorts yaws.

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
    """Renders a face unturned and turned, each with the landmarks of the fitted head.

    Args:
        example: A face with 68 landmarks as 2D annotations have them, the jaw along the outline.
        fitter: Fits the head.
        settings: The views.
        rng: Determines the side of frontal faces and the jitter.

    Returns:
        The unturned view, then the turned ones by increasing yaw.

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
    # Drawn for every yaw, so that a small change of the fit does not change the other views.
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
    crop = crop_matrix(landmarks_box(marks[:, :2]), settings.size, settings.crop_scale)
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
