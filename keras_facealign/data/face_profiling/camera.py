"""Scaled orthographic cameras and head angles.

Angles are those of 300W-LP and AFLW2000-3D: degrees, `R = Rx(pitch) Ry(yaw) Rz(roll)`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

# The head's y axis points up, the image's points down.
_FLIP = np.array([1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Camera:
    """Projection of a head into an image: `p = scale * flip(rotation @ v) + shift`.

    Attributes:
        rotation: float64 (3, 3), from the head's coordinates to the camera's (x right, y up, z
            towards the viewer).
        scale: Pixels per unit of the model.
        shift: float64 (2,), pixels.

    Example:
        >>> camera = Camera(np.eye(3), 2.0, np.array([10.0, 10.0]))
        >>> camera.project(np.array([[1.0, 1.0, 5.0]]))
        array([[12.,  8., 10.]])
    """

    rotation: np.ndarray
    scale: float
    shift: np.ndarray

    def project(self, points: np.ndarray) -> np.ndarray:
        """Projects points into the image.

        Args:
            points: float (..., 3) in the model's units.

        Returns:
            float64 (..., 3): x, y and depth in pixels; depth is larger nearer to the viewer.
        """
        seen = (points @ self.rotation.T) * (self.scale * _FLIP)
        seen[..., :2] += self.shift
        return seen

    def lift(self, pixels: np.ndarray) -> np.ndarray:
        """Inverts `project`: from (..., 3) pixels to the model's units."""
        moved = np.array(pixels, np.float64)
        moved[..., :2] -= self.shift
        return (moved / (self.scale * _FLIP)) @ self.rotation

    @property
    def angles(self) -> np.ndarray:
        """float64 (3,): pitch, yaw, roll in degrees."""
        return angles_from_rotation(self.rotation)

    @property
    def own_yaw(self) -> float:
        """Rotation of the head about its own vertical axis in degrees, with the sign of yaw.

        It is the yaw of `R = Rz(roll) Rx(pitch) Ry(yaw)`, which can exceed 90 degrees.
        """
        r = self.rotation
        return float(np.degrees(np.arctan2(r[2, 0], r[2, 2])))

    def turned(self, degrees: float, pivot: np.ndarray) -> Camera:
        """The camera after the head has turned about its own vertical axis.

        Args:
            degrees: Added to `own_yaw`.
            pivot: float (3,), the fixed point of the head.

        Returns:
            Camera with the same scale.
        """
        rotation = self.rotation @ rotation_from_angles(0.0, degrees, 0.0)
        turned = replace(self, rotation=rotation)
        return replace(turned, shift=self.shift + (self.project(pivot) - turned.project(pivot))[:2])


def rotation_from_angles(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """float64 (3, 3): `Rx(pitch) Ry(yaw) Rz(roll)` as in 300W-LP's code; degrees."""
    (cx, cy, cz), (sx, sy, sz) = (f(np.radians([pitch, yaw, roll])) for f in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_z = np.array([[cz, sz, 0], [-sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def angles_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """float64 (3,): pitch, yaw and roll in degrees; the inverse of `rotation_from_angles`.

    Yaw is within -90 to 90. At 90, pitch and roll have the same axis, and roll is set to 0.
    """
    r = rotation
    yaw = -np.arcsin(np.clip(r[0, 2], -1.0, 1.0))
    if abs(r[0, 2]) > 1 - 1e-9:
        return np.degrees([np.arctan2(-r[2, 1], r[1, 1]), yaw, 0.0])
    return np.degrees([np.arctan2(r[1, 2], r[2, 2]), yaw, np.arctan2(r[0, 1], r[0, 0])])


def rotation_from_vector(vector: np.ndarray) -> np.ndarray:
    """float64 (3, 3): rotation about a vector by its length in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = np.asarray(vector) / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
