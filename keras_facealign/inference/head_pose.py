"""Head pose from landmarks: the rotation that lays a mean 3D face over them.

The 68 points of a mean face are fitted to the landmarks under a pinhole camera (perspective n
points, by Levenberg-Marquardt from a weak-perspective start). Points that expressions or the
turning of the head move over the skin, mouth and jaw, count less than the nose, the eyes' corners
and the brows, and each counts by its confidence.

The mean face is ICT-FaceKit's neutral head (`mean_face68.json`, which states source and license;
`benchmarks/derive_mean_face.py` makes it).
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68

__all__ = ["HeadPose", "estimate_head_pose", "mean_face", "rotation_matrix"]

_MEAN_FACE = "mean_face68.json"

# Distance of the camera, in sizes of the face, that stands for "far away".
_FAR = 100.0
_ITERATIONS = 30
# Relative decrease of the squared error from which on no further step is worth its time.
_CONVERGED = 1e-9
# Weighted landmarks that a pose needs: three determine it, up to mistakes of the landmarks.
_FEWEST = 6

_REGION_WEIGHTS = {"jaw": 0.1, "outer_lip": 0.1, "inner_lip": 0.05}


@dataclass(frozen=True, eq=False)
class HeadPose:
    """How a head is turned, as seen in the upright picture.

    All angles are 0 for a face that looks against the camera's direction of view. They are those of
    300W-LP and AFLW2000-3D, see `rotation_matrix`. Near a yaw of 90 degrees they cannot tell pitch
    from roll, as no three angles of this order can; `rotation` is sound everywhere.

    Args:
        yaw: Degrees, -90 to 90; positive where the face turns to the left of the picture, its own
            right.
        pitch: Degrees, -180 to 180; positive where it looks up.
        roll: Degrees, -180 to 180; positive where it leans clockwise as seen on the screen.
        rotation: float64 (3, 3), from the head's axes to the camera's. Both have x to the right of
            the picture, y down and z away from the camera at angles of 0.
        residual: Root mean square distance between landmarks and the projected mean face, weighted
            as in the fit, over their spread (root mean square distance from their mean). Around 0.1
            for real faces; 0.3 and more means that the landmarks are no face.
    """

    yaw: float
    pitch: float
    roll: float
    rotation: np.ndarray
    residual: float

    def to_dict(self) -> dict[str, float]:
        """The angles in degrees to two decimals, and the residual, ready for JSON."""
        return {
            "yaw": round(self.yaw, 2),
            "pitch": round(self.pitch, 2),
            "roll": round(self.roll, 2),
            "residual": round(self.residual, 4),
        }


@functools.cache
def _mean_face_record() -> dict[str, Any]:
    file = importlib.resources.files("keras_facealign.inference") / _MEAN_FACE
    return json.loads(file.read_text(encoding="utf-8"))


def mean_face() -> np.ndarray:
    """The mean face: float64 (68, 3), centimeters.

    x to the right of a frontal picture, y down, z away from the camera, which looks the face in
    the eyes; the origin is the mean of the points.
    """
    return np.array(_mean_face_record()["points"], np.float64)


def rotation_matrix(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The rotation from the head's axes to the camera's, as 300W-LP composes it.

    The roll comes first, about the head's own axis, then the yaw, then the pitch about the camera's
    horizontal axis.

    Args:
        yaw: Degrees about the y axis (down).
        pitch: Degrees about the x axis, against the right-hand rule.
        roll: Degrees about the z axis (away from the camera).

    Returns:
        float64 (3, 3), which turns column vectors.

    Example:
        >>> (rotation_matrix(0, 0, 90) @ [1, 0, 0]).round(6)  # clockwise: right becomes down
        array([0., 1., 0.])
    """
    cy, cp, cr = (math.cos(math.radians(angle)) for angle in (yaw, pitch, roll))
    sy, sp, sr = (math.sin(math.radians(angle)) for angle in (yaw, pitch, roll))
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def _angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees: the inverse of `rotation_matrix`, yaw within 90 degrees."""
    yaw = math.asin(min(1.0, max(-1.0, rotation[0, 2])))
    pitch = math.atan2(rotation[1, 2], rotation[2, 2])
    roll = math.atan2(-rotation[0, 1], rotation[0, 0])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def estimate_head_pose(
    landmarks: np.ndarray,
    image_size: tuple[int, int] | None = None,
    confidence: np.ndarray | None = None,
    focal_length: float | None = None,
) -> HeadPose:
    """Finds how a head is turned from its 68 landmarks.

    A head at the rim of a picture shows more of one side to the camera than its rotation tells.
    With `image_size` (or `focal_length`) this is taken out, and the angles are those between the
    head and the camera's axes, wherever in the picture the face is. Without, the camera is taken to
    be far away and to look straight at the face.

    Args:
        landmarks: (68, 2), the points of iBUG, x before y, 0-based pixels of the upright picture.
        image_size: (width, height) of the picture in pixels; the camera looks at its middle.
        confidence: (68,), weight of each landmark from 0 to 1. Default: all weigh 1.
        focal_length: The camera's, in pixels; needs `image_size`. Default: the longer side of the
            picture, a view of 53 degrees.

    Returns:
        The pose.

    Raises:
        FaceAlignError: If the landmarks are not finite (68, 2) or all lie in one place, fewer than
            six have weight, or a size is not positive.

    Example:
        >>> pose = estimate_head_pose(face.landmarks, image_size=(1920, 1080))  # doctest: +SKIP
        >>> pose.yaw, pose.pitch, pose.roll  # doctest: +SKIP
    """
    points = _check_landmarks(landmarks)
    weights = _weights(confidence)
    center = np.average(points, axis=0, weights=weights)
    size = math.sqrt(float(np.average(((points - center) ** 2).sum(axis=1), weights=weights)))
    if size < 1e-6:
        raise FaceAlignError("head pose: all landmarks lie in one place; give those of a face")
    if image_size is None:
        if focal_length is not None:
            raise FaceAlignError("head pose: focal_length needs image_size; give it as well")
        principal, focal = center, _FAR * size
    else:
        principal, focal = _camera(image_size, focal_length)
    model = mean_face()
    # In units of the focal length, so that one tolerance suits pictures of every size.
    rays = (points - principal) / focal
    start = _weak_perspective(model, rays, weights)
    rotation, translation = _refine(model, rays, weights, *start)
    error = _project(model, rotation, translation)[0] - rays
    residual = math.sqrt(float(np.average((error**2).sum(axis=1), weights=weights))) * focal / size
    return HeadPose(*_angles(rotation), rotation=rotation, residual=residual)


def _check_landmarks(landmarks: np.ndarray) -> np.ndarray:
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2):
        raise FaceAlignError(
            f"head pose: landmarks have shape {points.shape}; give the 68 points of iBUG, (68, 2)"
        )
    if not np.isfinite(points).all():
        bad = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise FaceAlignError(
            f"head pose: landmark {bad} is {points[bad].tolist()}; give finite coordinates"
        )
    return points


def _camera(image_size: tuple[int, int], focal_length: float | None) -> tuple[np.ndarray, float]:
    """Where the camera looks, in pixels, and its focal length."""
    width, height = image_size
    if not (width > 0 and height > 0):
        raise FaceAlignError(f"head pose: image_size is {image_size}; give (width, height)")
    focal = float(max(width, height) if focal_length is None else focal_length)
    if not (math.isfinite(focal) and focal > 0):
        raise FaceAlignError(f"head pose: focal_length is {focal_length}; give pixels above 0")
    return np.array([(width - 1) / 2, (height - 1) / 2]), focal


def _weights(confidence: np.ndarray | None) -> np.ndarray:
    weights = np.ones(68)
    for region, weight in _REGION_WEIGHTS.items():
        weights[list(IBUG68.regions[region])] = weight
    if confidence is not None:
        values = np.asarray(confidence, np.float64)
        if values.shape != (68,) or not (values >= 0).all():
            raise FaceAlignError(
                f"head pose: confidence has shape {values.shape} or values below 0; give (68,) "
                "numbers from 0 to 1"
            )
        weights = weights * np.minimum(values, 1.0)
    if np.count_nonzero(weights) < _FEWEST:
        raise FaceAlignError(
            f"head pose: {np.count_nonzero(weights)} landmarks have weight; {_FEWEST} are needed"
        )
    return weights


def _weak_perspective(
    model: np.ndarray, rays: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation of the scaled orthographic fit, for a camera that sees the rays."""
    offset = np.average(model, axis=0, weights=weights)
    middle = np.average(rays, axis=0, weights=weights)
    root = np.sqrt(weights)[:, None]
    rows, *_ = np.linalg.lstsq(root * (model - offset), root * (rays - middle), rcond=None)
    # The two rows of a scaled rotation that are nearest to the affine map.
    left, values, right = np.linalg.svd(rows.T, full_matrices=False)
    rotation = left @ right
    rotation = np.vstack([rotation, np.cross(rotation[0], rotation[1])])
    # Seen off the camera's axis, the head is turned along with the line of sight.
    rotation = _towards(np.array([*middle, 1.0])) @ rotation
    depth = 1.0 / max(float(values.mean()), 1e-9)
    return rotation, depth * np.array([*middle, 1.0]) - rotation @ offset


def _towards(direction: np.ndarray) -> np.ndarray:
    """The smallest rotation that turns the z axis into a direction."""
    x, y, z = direction / np.linalg.norm(direction)
    axis = np.array([-y, x, 0.0])
    sine = float(np.linalg.norm(axis))
    return _rotation(axis * (math.atan2(sine, z) / sine) if sine > 0 else axis)


def _rotation(vector: np.ndarray) -> np.ndarray:
    """Rodrigues' formula: the rotation about a vector by its length in radians."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3) + _cross_matrix(vector)
    cross = _cross_matrix(vector / angle)
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def _cross_matrix(v: np.ndarray) -> np.ndarray:
    return np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])


def _project(
    model: np.ndarray, rotation: np.ndarray, translation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The model's points in units of the focal length (68, 2), and in the camera's axes (68, 3)."""
    seen = model @ rotation.T + translation
    return seen[:, :2] / seen[:, 2:], seen


def _refine(
    model: np.ndarray,
    rays: np.ndarray,
    weights: np.ndarray,
    rotation: np.ndarray,
    translation: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Levenberg-Marquardt on the weighted squared distances of the projections."""
    root = np.repeat(np.sqrt(weights), 2)

    def errors(rotation: np.ndarray, translation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        projected, seen = _project(model, rotation, translation)
        return root * (projected - rays).ravel(), seen

    error, seen = errors(rotation, translation)
    cost, damping = float(error @ error), 1e-3
    for _ in range(_ITERATIONS):
        jacobian = root[:, None] * _jacobian(seen, seen - translation)
        normal, slope = jacobian.T @ jacobian, jacobian.T @ error
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-15), -slope)
        new_rotation, new_translation = _rotation(step[:3]) @ rotation, translation + step[3:]
        new_error, new_seen = errors(new_rotation, new_translation)
        new_cost = float(new_error @ new_error)
        # A step that puts part of the head behind the camera is no step, whatever its cost.
        if not (new_cost < cost and (new_seen[:, 2] > 0).all()):
            damping *= 10
            if damping > 1e6:
                break
            continue
        done = cost - new_cost < _CONVERGED * cost
        rotation, translation = new_rotation, new_translation
        error, seen, cost, damping = new_error, new_seen, new_cost, damping / 10
        if done:
            break
    return rotation, translation


def _jacobian(seen: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """Derivatives (136, 6) of the projections by a small rotation and a translation.

    Args:
        seen: (68, 3), the points in the camera's axes.
        turned: (68, 3), the same without the translation.
    """
    x, y, z = seen.T
    zero = np.zeros_like(z)
    by_point = np.stack([[1 / z, zero, -x / z**2], [zero, 1 / z, -y / z**2]]).transpose(2, 0, 1)
    a, b, c = turned.T
    # A small rotation w moves a point p by w x p.
    by_turn = np.array([[zero, c, -b], [-c, zero, a], [b, -a, zero]]).transpose(2, 0, 1)
    return np.concatenate([by_point @ by_turn, by_point], axis=2).reshape(-1, 6)
