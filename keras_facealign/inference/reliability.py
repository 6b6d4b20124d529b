"""Tells faces from what is none, and from faces that are cropped upside down."""

from __future__ import annotations

import numpy as np

# Means over the landmarks, measured by `benchmarks/turned.py` with `sat1_cab_mobile`: of faces, 99
# in 100 have a larger visibility and confidence; of faces that were cropped upside down or turned
# by 90 degrees, 1 and 27 in 100. Hence confidence decides only for models without visibility.
LEAST_VISIBILITY = 0.45
LEAST_CONFIDENCE = 0.65
# A detector that scores a face lower has doubts, and as much more has to be visible.
SURE_SCORE = 0.8


def belief(
    confidence: np.ndarray, visibility: np.ndarray | None = None, score: np.ndarray | float = 1.0
) -> np.ndarray:
    """Rates how much predictions look like those of an upright face.

    Args:
        confidence: float (..., K), 0 to 1 for each landmark.
        visibility: float (..., K), probability that each landmark is not hidden; None if the model
            is not calibrated.
        score: float (...), the detector's, 0 to 1.

    Returns:
        float (...), from -2 to 1; faces have 0 and more.

    Example:
        >>> belief(np.full(68, 0.8)).round(2), belief(np.full(68, 0.8), np.full(68, 0.1)).round(2)
        (np.float64(0.15), np.float64(-0.35))
    """
    doubt = np.maximum(SURE_SCORE - np.asarray(score), 0)
    if visibility is not None:
        return np.asarray(visibility).mean(axis=-1) - LEAST_VISIBILITY - doubt
    return np.asarray(confidence).mean(axis=-1) - LEAST_CONFIDENCE - doubt
