"""Fits a head model to the 68 landmarks of a face in an image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from keras_facealign.data.face_profiling.camera import Camera, rotation_from_vector
from keras_facealign.data.face_profiling.model import NUM_LANDMARKS, MorphableModel
from keras_facealign.data.face_profiling.silhouette import JAW, contour_lines
from keras_facealign.errors import FaceAlignError

_FLIP = np.array([1.0, -1.0])


@dataclass(frozen=True)
class FitSettings:
    """Noise model and steps of a fit.

    Attributes:
        noise: Standard deviation of the landmarks within the face, in units of the face's size
            (the root of its box's area).
        jaw_noise: The same for the jaw, across the outline.
        jaw_slide: The same for the jaw, along the outline, where annotators differ most.
        expression_spread: Standard deviation of expressions' coefficients; that of identities is 1.
        occluded_weight: Weight of occluded landmarks, whose position is a guess.
        outlier: Error, in standard deviations, at which a landmark's weight is halved.
        iterations: Gauss-Newton steps.
        silhouette: Whether the jaw's landmarks lie on the visible outline, as in 2D annotations;
            otherwise they are fixed points of the model.
    """

    noise: float = 0.015
    jaw_noise: float = 0.02
    jaw_slide: float = 0.03
    expression_spread: float = 0.35
    occluded_weight: float = 0.3
    outlier: float = 4.0
    iterations: int = 14
    silhouette: bool = True


@dataclass(frozen=True, eq=False)
class HeadFit:
    """A head fitted to a face.

    Attributes:
        coefficients: float64 (I + E,), identity, then expression.
        camera: The head's projection.
        residuals: float64 (68, 2), given landmarks minus landmarks of the fit, in pixels; for the
            jaw, relative to the outline. Zero for landmarks without a position. They include
            `MorphableModel.annotation_bias`.
        outline: float64 (17, 3), the model's points on the outline, in the model's units.
    """

    coefficients: np.ndarray
    camera: Camera
    residuals: np.ndarray
    outline: np.ndarray


class HeadFitter:
    """Fits one model to many faces.

    Identity, expression and pose (scaled orthography) are estimated together by Gauss-Newton steps
    on the landmarks' distances, with Gaussian priors of the coefficients, expressions limited to 0
    to 1, and lower weights for outliers.

    Args:
        model: The head.
        settings: See `FitSettings`.

    Example:
        >>> fitter = HeadFitter(load_head_model("ict_facekit_f16.npz"))  # doctest: +SKIP
        >>> fitter.fit(example.landmarks).camera.angles  # doctest: +SKIP
        array([ -3.1,  24.0,   5.5])
    """

    def __init__(self, model: MorphableModel, settings: FitSettings | None = None) -> None:
        self.model = model
        self.settings = settings or FitSettings()
        self._lines = contour_lines(model)
        self._neutral = model.neutral[model.landmarks].astype(np.float64)
        self._offsets = model.offsets[:, model.landmarks].astype(np.float64)
        spread = np.ones(model.num_coefficients)
        spread[len(model.identity) :] = self.settings.expression_spread
        self._precision = spread**-2.0

    def fit(self, landmarks: np.ndarray, visibility: np.ndarray | None = None) -> HeadFit:
        """Fits the head to landmarks.

        Args:
            landmarks: float (68, 2), x before y, pixels.
            visibility: int (68,), 0 without a position, 1 occluded, 2 visible. Default: all
                visible.

        Returns:
            The fit.

        Raises:
            FaceAlignError: The landmarks are not (68, 2) or not finite, or too few have a position
                to determine the pose.
        """
        points, trust = self._checked(landmarks, visibility)
        known = trust > 0
        size = float(np.sqrt(np.prod(np.ptp(points[known], axis=0))))
        if not size > 0:
            raise FaceAlignError("The landmarks span no area; correct the labels.")
        camera = self._first_camera(points, trust)
        coefficients = np.zeros(self.model.num_coefficients)
        for step in range(self.settings.iterations):
            camera, coefficients = self._step(points, trust, size, camera, coefficients, step)
        head, _, _ = self._correspond(coefficients, camera)
        residuals = np.where(known[:, None], points - camera.project(head)[:, :2], 0.0)
        return HeadFit(coefficients, camera, residuals, head[:JAW])

    def _checked(
        self, landmarks: np.ndarray, visibility: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        points = np.asarray(landmarks, np.float64)
        if points.shape != (NUM_LANDMARKS, 2):
            raise FaceAlignError(f"The landmarks have shape {points.shape}; give (68, 2)")
        seen = np.full(NUM_LANDMARKS, 2) if visibility is None else np.asarray(visibility)
        if seen.shape != (NUM_LANDMARKS,):
            raise FaceAlignError(f"The visibility has shape {seen.shape}; give (68,)")
        if not np.isfinite(points[seen > 0]).all():
            raise FaceAlignError("The landmarks are not all finite; correct the labels")
        if (seen[JAW:] > 0).sum() < 8:
            raise FaceAlignError(
                f"Only {(seen[JAW:] > 0).sum()} landmarks within the face have a position; 8 are "
                "needed for its pose"
            )
        trust = np.select([seen >= 2, seen == 1], [1.0, self.settings.occluded_weight], 0.0)
        return np.where(trust[:, None] > 0, points, 0.0), trust

    def _first_camera(self, points: np.ndarray, trust: np.ndarray) -> Camera:
        """The pose of the mean head, from an affine fit to the landmarks within the face."""
        weight = np.sqrt(trust[JAW:, None])
        head = (self._neutral + self.model.annotation_bias)[JAW:]
        head = np.hstack([head, np.ones((NUM_LANDMARKS - JAW, 1))])
        affine = np.linalg.lstsq(head * weight, points[JAW:] * _FLIP * weight, rcond=None)[0].T
        left, stretch, right = np.linalg.svd(affine[:, :3], full_matrices=False)
        rows = left @ right
        rotation = np.vstack([rows, np.cross(rows[0], rows[1])])
        return Camera(rotation, float(stretch.mean()), affine[:, 3] * _FLIP)

    def _correspond(
        self, coefficients: np.ndarray, camera: Camera
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The model's points of the 68 landmarks, their offsets, and the outline's normals."""
        head = self._neutral + np.tensordot(coefficients, self._offsets, 1)
        offsets = self._offsets
        normals = self._lines.outwards @ camera.rotation[:2].T * _FLIP
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        if self.settings.silhouette:
            lines = self._lines.points(coefficients)
            chosen = self._lines.outermost(lines, camera.rotation)
            rows = np.arange(JAW)
            head[:JAW] = lines[rows, chosen]
            offsets = offsets.copy()
            offsets[:, :JAW] = self._lines.offsets[:, rows, chosen]
        return head, offsets, normals

    def _step(
        self,
        points: np.ndarray,
        trust: np.ndarray,
        size: float,
        camera: Camera,
        coefficients: np.ndarray,
        step: int,
    ) -> tuple[Camera, np.ndarray]:
        """One Gauss-Newton step of rotation, scale, shift and coefficients."""
        head, offsets, normals = self._correspond(coefficients, camera)
        head = head + self.model.annotation_bias
        turned = head @ camera.rotation.T
        x, y, z = turned.T
        zero, one = np.zeros_like(x), np.ones_like(x)
        # Columns: rotation about x, y and z, logarithm of the scale, shift; rows: image x and y.
        pose = camera.scale * np.array(
            [
                [zero, z, -y, x, one / camera.scale, zero],
                [z, zero, -x, -y, zero, one / camera.scale],
            ]
        )
        shape = np.einsum("kpc,rc,r->rkp", offsets, camera.rotation[:2], camera.scale * _FLIP)
        columns = np.concatenate([pose, shape], axis=1).transpose(2, 0, 1)  # (68, 2, 6 + K)
        error = points - camera.project(head)[:, :2]
        whiten = self._whitening(error, trust, size, normals, robust=step > 2)
        rows = np.einsum("pab,pbk->pak", whiten, columns).reshape(2 * NUM_LANDMARKS, -1)
        target = np.einsum("pab,pb->pa", whiten, error).ravel()
        normal = rows.T @ rows
        right = rows.T @ target
        # The first step changes mainly the pose.
        stiffness = self._precision * (30.0 if step == 0 else 1.0)
        index = np.arange(6, len(normal))
        normal[index, index] += stiffness
        right[6:] -= stiffness * coefficients
        normal[np.arange(3), np.arange(3)] += 1.0
        change = np.linalg.solve(normal, right)
        turn = change[:3] * min(1.0, 0.5 / max(float(np.linalg.norm(change[:3])), 1e-9))
        camera = replace(
            camera,
            rotation=rotation_from_vector(turn) @ camera.rotation,
            scale=camera.scale * float(np.exp(np.clip(change[3], -0.3, 0.3))),
            shift=camera.shift + change[4:6],
        )
        coefficients = coefficients + change[6:]
        first = len(self.model.identity)
        coefficients[:first] = np.clip(coefficients[:first], -3.0, 3.0)
        coefficients[first:] = np.clip(coefficients[first:], 0.0, 1.0)
        return camera, coefficients

    def _whitening(
        self, error: np.ndarray, trust: np.ndarray, size: float, normals: np.ndarray, robust: bool
    ) -> np.ndarray:
        """(68, 2, 2): maps errors in pixels to independent errors of standard deviation 1."""
        settings = self.settings
        matrices = np.tile(np.eye(2) / (settings.noise * size), (NUM_LANDMARKS, 1, 1))
        tangents = normals[:, ::-1] * np.array([-1.0, 1.0])
        matrices[:JAW, 0] = normals / (settings.jaw_noise * size)
        matrices[:JAW, 1] = tangents / (settings.jaw_slide * size)
        weight = trust.copy()
        if robust:
            length = np.linalg.norm(np.einsum("pab,pb->pa", matrices, error), axis=1)
            weight = weight / (1.0 + (length / settings.outlier) ** 2)  # Cauchy's weights
        return matrices * np.sqrt(weight)[:, None, None]
