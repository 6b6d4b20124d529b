"""Tries a network on the faces of model cards: turned heads, and crops that are hard to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_facealign._opencv import cv2
from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.cards.heads import Head, HeadView, drawn_head, photo_head
from keras_facealign.landmarks import IBUG68

if TYPE_CHECKING:
    from keras_facealign.models import FaceAlignModel

YAWS = (0, 15, 30, 45, 60, 75, 90)
"""Degrees, without sign."""

FAILED = 8.0
"""Error in percent of the face's size above which a trial counts as a failure."""

# Drawn faces: one to turn, one to corrupt.
_TURNED_SEED, _CORRUPTED_SEED = 3, 8
_NOISE_SEED = 0
_SIDE = 128  # of the crops that are corrupted

_LIGHT, _BLUR, _PIXELS, _NOISE, _LEAN = 1 / 16, 5.0, 16, 60.0, 45.0
CORRUPTION_STRENGTHS = (
    f"In the dark 1/{1 / _LIGHT:.0f} of the light is left; blur has a standard deviation of "
    f"{_BLUR:g} pixels in {_SIDE}, noise one of {_NOISE:g} in 255."
)
"""Explanation of the corruptions' names."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One crop to find landmarks in, and, once judged, what a network found.

    Attributes:
        name: Word for what was done, such as "yaw 30" or "dark".
        view: The crop and its landmarks.
        counted: bool (68,), the landmarks by which the network is judged.
        landmarks: float32 (68, 2), found, in pixels of the crop.
        certainty: float32 (68,): the standard deviation in pixels of the crop of a calibrated
            network, else the confidence, 0 to 1.
        error: Mean distance of the landmarks that count from their places, in percent of the size
            of the face (the root of the area of the box around all landmarks); None if none counts.
    """

    name: str
    view: HeadView
    counted: np.ndarray
    landmarks: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    certainty: np.ndarray = field(default_factory=lambda: np.zeros(0))
    error: float | None = None


def try_preset(
    model: FaceAlignModel,
    all_landmarks: bool,
    photo: str | Path | None = None,
    head_model: str | Path | None = None,
) -> dict[str, list[Trial]]:
    """Finds the landmarks of faces that are drawn, turned and corrupted.

    Args:
        model: The network.
        all_landmarks: See `turned_trials`.
        photo: A photo of a face to turn and corrupt as well.
        head_model: ICT-FaceKit's head, to lay the photo over, see `photo_head`.

    Returns:
        Judged trials by the heading of their row.

    Raises:
        FaceAlignError: If the network's landmarks are not the 68 of iBUG, or a file cannot be used.
    """
    if model.scheme.name != IBUG68.name:
        raise FaceAlignError(
            f"The figure of a card draws faces for {IBUG68.name}, and {model.name} has "
            f"{model.scheme.name}; leave the figure out (--no-figure)."
        )
    size = model.input_size
    rows = {
        "Drawn face, turned": turned_trials(drawn_head(_TURNED_SEED), size, 1, all_landmarks),
        "Drawn face, disturbed": corrupted_trials(drawn_head(_CORRUPTED_SEED), size),
    }
    if photo is not None:
        head = photo_head(model, photo, head_model, outline=not all_landmarks)
        rows["Photo, turned"] = turned_trials(head, size, -1, all_landmarks, reference=True)
        rows["Photo, disturbed"] = corrupted_trials(head, size)
    return {heading: judge(model, trials) for heading, trials in rows.items()}


def turned_trials(
    head: Head, size: int, side: int, all_landmarks: bool, reference: bool = False
) -> list[Trial]:
    """Turns the head by growing yaws.

    Args:
        head: The head.
        size: Side of the crops in pixels.
        side: 1 to turn the face to the left of the image, -1 to the right.
        all_landmarks: Whether the network was trained on hidden landmarks of turned heads, and on
            the jaw's as points of the head; otherwise they do not count.
        reference: Whether the head has its landmarks from the network's own answer to the unturned
            image, which then is shown without an error.

    Returns:
        A trial for each of `YAWS`.
    """
    trials = []
    for yaw in YAWS:
        # A photo stays as it is, instead of being turned by the few degrees that it looks aside.
        view = head.view(size, float(side * yaw) if yaw else None)
        compared = bool(yaw) or not reference
        name = f"yaw {yaw}" if compared else "reference"
        trials.append(Trial(name, view, (view.labeled | all_landmarks) & compared))
    return trials


def corrupted_trials(head: Head, size: int) -> list[Trial]:
    """Makes the unturned face hard to read; a trial for each of `CORRUPTIONS`."""
    trials = []
    for name, corrupt in CORRUPTIONS.items():
        view = head.view(size, lean=_LEAN if name == _LEANING else 0.0)
        large = cv2.resize(view.crop, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        changed = corrupt(large.astype(np.float32), view.landmarks * (_SIDE / size))
        crop = cv2.resize(np.rint(np.clip(changed, 0, 255)).astype(np.uint8), (size, size))
        trials.append(Trial(name, replace(view, crop=crop), np.full(68, True)))
    return trials


def judge(model: FaceAlignModel, trials: list[Trial]) -> list[Trial]:
    """Finds the landmarks of all trials and measures their errors.

    Args:
        model: A network for the 68 iBUG landmarks.
        trials: Trials with crops of the model's `input_size`.
    """
    found = model.predict_outputs(np.stack([trial.view.crop for trial in trials]))
    certainty = found.get("sigma", found["confidence"])
    judged = []
    for trial, landmarks, sure in zip(trials, found["landmarks"], certainty, strict=True):
        truth = trial.view.landmarks
        distance = np.linalg.norm(landmarks - truth, axis=1)[trial.counted]
        size = np.sqrt(np.prod(np.ptp(truth, axis=0)))
        error = float(100 * distance.mean() / size) if len(distance) else None
        judged.append(replace(trial, landmarks=landmarks, certainty=sure, error=error))
    return judged


def _half_covered(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Draws a dark board over the right half of the image."""
    crop[:, round(float(points[27:31, 0].mean())) :] = (52, 48, 44)
    return crop


def _mouth_covered(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Draws a mask over nose, mouth and chin."""
    outline = np.concatenate([points[2:15], points[29:30]])
    return cv2.fillPoly(crop, [np.rint(outline).astype(np.int32)], (170, 205, 215), cv2.LINE_AA)


def _low_resolution(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    small = cv2.resize(crop, (_PIXELS, _PIXELS), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, crop.shape[:2], interpolation=cv2.INTER_LINEAR)


def _noisy(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    return crop + np.random.default_rng(_NOISE_SEED).normal(0, _NOISE, crop.shape)


_LEANING = f"leaning {_LEAN:.0f}"

CORRUPTIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "half covered": _half_covered,
    "mask": _mouth_covered,
    "dark": lambda crop, points: np.rint(crop * _LIGHT),  # few steps of brightness are left
    "blurred": lambda crop, points: cv2.GaussianBlur(crop, (0, 0), _BLUR),
    f"{_PIXELS} pixels": _low_resolution,
    "noise": _noisy,
    _LEANING: lambda crop, points: crop,
}
"""Functions from a crop, float32 (128, 128, 3), 0 to 255, and its landmarks to a changed crop."""
