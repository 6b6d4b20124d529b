"""Estimates head pose from landmarks: the rotation that fits a mean 3D face to them.

The 68 points of a mean face are fitted to the landmarks under a pinhole camera (perspective n
points, by Levenberg-Marquardt from a weak-perspective start). Mouth and jaw, which expressions or
the rotation of the head move over the skin, have smaller weights than the nose, the corners of the
eyes and the brows, and each landmark is weighted by its confidence.

The mean face is ICT-FaceKit's neutral head (`keras_facealign.landmarks.mean_face`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from keras_facealign._opencv import cv2
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import mean_face, rigid_weights

# Distance of a camera that counts as far away, in sizes of the face.
_FAR = 100.0
_ITERATIONS = 30
# Iterations end when the squared error decreases by less than this share.
_CONVERGED = 1e-9
# Landmarks with weight that a pose needs; three determine it, more average out their errors.
_FEWEST = 6


@dataclass(frozen=True, eq=False)
class HeadPose:
    """The rotation of a head in the upright image.

    All angles are 0 for a face that looks straight into the camera. They are defined as in 300W-LP
    and AFLW2000-3D, see `rotation_matrix`. Near a yaw of 90 degrees pitch and roll are ambiguous
    (gimbal lock); `rotation` is always well defined.

    Args:
        yaw: Degrees, -90 to 90; positive if the face turns to the left of the image, its own right.
        pitch: Degrees, -180 to 180; positive if it looks up.
        roll: Degrees, -180 to 180; positive if it leans clockwise on the screen.
        rotation: float64 (3, 3), from the head's axes to the camera's. At angles of 0 both have x
            to the right of the image, y down and z away from the camera.
        residual: Root mean square distance between landmarks and the projected mean face, weighted
            as in the fit, over their spread (root mean square distance from their mean). Around 0.1
            for real faces; 0.3 and more means that the landmarks do not form a face.
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


def rotation_matrix(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Computes the rotation from the head's axes to the camera's, as 300W-LP composes it.

    The roll about the head's own axis comes first, then the yaw, then the pitch about the camera's
    horizontal axis.

    Args:
        yaw: Degrees about the y axis (down).
        pitch: Degrees about the x axis, against the right-hand rule.
        roll: Degrees about the z axis (away from the camera).

    Returns:
        float64 (3, 3), which rotates column vectors.

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
    """Computes yaw, pitch and roll in degrees: the inverse of `rotation_matrix`."""
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
    """Estimates the rotation of a head from its 68 landmarks.

    With `image_size` the angles are those between the head and the camera's axes, wherever in the
    image the face is: perspective, which shows more of one side of a head near the image's border,
    is corrected. Without it, the camera is assumed to be far away and to look straight at the face.

    Args:
        landmarks: (68, 2), the points of iBUG, x before y, 0-based pixels of the upright image.
        image_size: (width, height) of the image in pixels; the camera looks at its center.
        confidence: (68,), weight of each landmark from 0 to 1. Default: 1 for all.
        focal_length: Of the camera, in pixels; needs `image_size`. Default: the longer side of the
            image, which is a field of view of 53 degrees.

    Returns:
        The pose.

    Raises:
        FaceAlignError: If the landmarks are not finite (68, 2) or all coincide, fewer than six have
            weight, or a size is not positive.

    Example:
        >>> landmarks = (mean_face() @ rotation_matrix(20, -10, 5).T)[:, :2] * 9 + 300
        >>> pose = estimate_head_pose(landmarks)
        >>> round(pose.yaw), round(pose.pitch), round(pose.roll)
        (20, -10, 5)
    """
    points = _check_landmarks(landmarks)
    weights = _weights(confidence)
    shares = weights / weights.sum()
    center = shares @ points
    size = math.sqrt(float(shares @ ((points - center) ** 2).sum(axis=1)))
    if size < 1e-6:
        raise FaceAlignError("head pose: all landmarks coincide; give those of a face")
    if image_size is None:
        if focal_length is not None:
            raise FaceAlignError("head pose: focal_length needs image_size; give it as well")
        principal, focal = center, _FAR * size
    else:
        principal, focal = _camera(image_size, focal_length)
    used = weights > 0
    model, points, weights = mean_face()[used], points[used], weights[used]
    # In units of the focal length, so that one tolerance fits images of every size.
    rays = (points - principal) / focal
    start = _weak_perspective(model, rays, weights)
    rotation, cost = _refine(model, rays, weights, *start)
    residual = math.sqrt(cost / float(weights.sum())) * focal / size
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
    """Returns the principal point and the focal length in pixels."""
    width, height = image_size
    if not (width > 0 and height > 0):
        raise FaceAlignError(f"head pose: image_size is {image_size}; give (width, height)")
    focal = float(max(width, height) if focal_length is None else focal_length)
    if not (math.isfinite(focal) and focal > 0):
        raise FaceAlignError(f"head pose: focal_length is {focal_length}; give pixels above 0")
    return np.array([(width - 1) / 2, (height - 1) / 2]), focal


def _weights(confidence: np.ndarray | None) -> np.ndarray:
    weights = rigid_weights()
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
    """Computes rotation and translation of the scaled orthographic fit."""
    shares = weights / weights.sum()
    offset, middle = shares @ model, shares @ rays
    weighted = shares[:, None] * (model - offset)
    inner, outer = weighted.T @ (model - offset), weighted.T @ (rays - middle)
    rows = np.linalg.lstsq(inner, outer, rcond=None)[0]
    # The two rows of a scaled rotation that are nearest to the affine map.
    left, values, right = np.linalg.svd(rows.T, full_matrices=False)
    rotation = left @ right
    (a, b, c), (d, e, f) = rotation
    rotation = np.vstack([rotation, [b * f - c * e, c * d - a * f, a * e - b * d]])
    # Away from the camera's axis, the head is rotated along with the line of sight.
    rotation = _towards(np.array([*middle, 1.0])) @ rotation
    depth = 1.0 / max(float(values.mean()), 1e-9)
    return rotation, depth * np.array([*middle, 1.0]) - rotation @ offset


def _towards(direction: np.ndarray) -> np.ndarray:
    """Computes the smallest rotation from the z axis to a direction."""
    x, y, z = direction / np.linalg.norm(direction)
    axis = np.array([-y, x, 0.0])
    sine = float(np.linalg.norm(axis))
    return cv2.Rodrigues(axis * (math.atan2(sine, z) / sine) if sine > 0 else axis)[0]


def _refine(
    model: np.ndarray,
    rays: np.ndarray,
    weights: np.ndarray,
    rotation: np.ndarray,
    translation: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Minimizes the weighted squared distances of the projections by Levenberg-Marquardt.

    Returns:
        The rotation (3, 3), and the sum of the weighted squared distances.
    """
    root, camera = np.repeat(np.sqrt(weights), 2), np.eye(3)

    def evaluate(pose: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        projected, jacobian = cv2.projectPoints(model, pose[:3], pose[3:], camera, None)
        error = root * (projected[:, 0] - rays).ravel()
        depth = model @ cv2.Rodrigues(pose[:3])[0][2] + pose[5]
        # Rejects poses that put part of the head behind the camera.
        cost = float(error @ error) if (depth > 0).all() else math.inf
        return cost, error, root[:, None] * jacobian[:, :6]

    pose = np.concatenate([cv2.Rodrigues(rotation)[0].ravel(), translation])
    cost, error, jacobian = evaluate(pose)
    damping = 1e-3
    for _ in range(_ITERATIONS):
        normal = jacobian.T @ jacobian
        slope = jacobian.T @ error
        normal.flat[::7] += damping * (normal.flat[::7] + 1e-15)
        step = np.linalg.solve(normal, -slope)
        new_cost, new_error, new_jacobian = evaluate(pose + step)
        if not new_cost < cost:
            damping *= 10
            if damping > 1e6:
                break
            continue
        converged = cost - new_cost < _CONVERGED * cost
        pose, damping = pose + step, damping / 10
        cost, error, jacobian = new_cost, new_error, new_jacobian
        if converged:
            break
    return cv2.Rodrigues(pose[:3])[0], cost
