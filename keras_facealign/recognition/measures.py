"""Measures of face verification: accuracy over folds, ROC, AUC, EER, TAR at a FAR.

A score says how similar the faces of a pair are; a pair counts as one person from a threshold on.
"""

from __future__ import annotations

import numpy as np

from keras_facealign.errors import FaceAlignError


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """Finds the threshold with the highest accuracy.

    Args:
        scores: (N,), higher for more similar faces.
        same: bool (N,), whether a pair is one person.

    Returns:
        A number midway between two scores, or beyond all; of equally good ones the highest.

    Example:
        >>> best_threshold(np.array([0.9, 0.6, 0.2]), np.array([True, True, False]))
        0.4
    """
    order = np.argsort(-scores, kind="stable")
    values = scores[order]
    gains = np.where(same[order], 1, -1)
    # Right answers if the first k pairs count as one person, less the pairs of two persons.
    right = np.concatenate([[0], np.cumsum(gains)])
    # Pairs of equal scores cannot be told apart.
    possible = np.concatenate([[True], values[1:] < values[:-1], [True]])
    best = int(np.argmax(np.where(possible, right, -len(scores) - 1)))
    bounds = np.concatenate([[values[0] + 1], values, [values[-1] - 1]])
    return float((bounds[best] + bounds[best + 1]) / 2)


def cross_validate(
    scores: np.ndarray, same: np.ndarray, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Measures the accuracy of each fold with the best threshold of all others.

    Args:
        scores: (N,), higher for more similar faces.
        same: bool (N,), whether a pair is one person.
        folds: int (N,).

    Returns:
        Accuracies in percent and thresholds, (F,), in the order of the folds.

    Raises:
        FaceAlignError: If there is only one fold.
    """
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise FaceAlignError(
            f"{len(numbers)} fold of pairs; the threshold of one comes from the others, so give "
            "at least two"
        )
    thresholds = [best_threshold(scores[folds != k], same[folds != k]) for k in numbers]
    accuracies = [
        100 * np.mean((scores[folds == k] >= threshold) == same[folds == k])
        for k, threshold in zip(numbers, thresholds, strict=True)
    ]
    return np.array(accuracies), np.array(thresholds)


def roc(scores: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes false and true accept rates, 0 to 1, for all thresholds, the highest first.

    Returns:
        FAR and TAR, (T,), from 0 to 1.
    """
    thresholds = np.concatenate([[np.inf], np.unique(scores)[::-1]])
    rates = []
    for part in (np.sort(scores[~same]), np.sort(scores[same])):
        rates.append(1 - np.searchsorted(part, thresholds, "left") / len(part))
    return rates[0], rates[1]


def roc_auc(scores: np.ndarray, same: np.ndarray) -> float:
    """Computes the area under the ROC in percent: how often a pair of one person scores higher.

    Example:
        >>> roc_auc(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False]))
        87.5
    """
    others = np.sort(scores[~same])
    below = np.searchsorted(others, scores[same], "left")
    not_above = np.searchsorted(others, scores[same], "right")
    return float(100 * np.mean((below + not_above) / 2) / len(others))


def equal_error_rate(scores: np.ndarray, same: np.ndarray) -> float:
    """Computes the rate in percent at which as many pairs are falsely accepted as rejected."""
    far, tar = roc(scores, same)
    gap = far + tar - 1  # rises from -1 to 1
    k = int(np.argmax(gap >= 0))
    share = gap[k - 1] / (gap[k - 1] - gap[k])
    return float(100 * (far[k - 1] + share * (far[k] - far[k - 1])))


def tar_at_far(scores: np.ndarray, same: np.ndarray, limit: float = 1e-3) -> float:
    """Computes the true accept rate in percent at the largest false accept rate up to a limit."""
    far, tar = roc(scores, same)
    return float(100 * tar[far <= limit].max())
