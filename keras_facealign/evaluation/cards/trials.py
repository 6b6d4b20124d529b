"""What model cards try a network on: turned heads, and crops that are hard to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.cards.heads import Head, HeadView, drawn_head, photo_head
from keras_facealign.landmarks import IBUG68

if TYPE_CHECKING:
    from keras_facealign.models import FaceAlignModel

__all__ = [
    "DISTURBANCES",
    "FAILED",
    "THE_HARD",
    "YAWS",
    "Outcome",
    "Row",
    "Trial",
    "disturbed_trials",
    "judge",
    "try_preset",
    "turned_trials",
]

YAWS = (0, 15, 30, 45, 60, 75, 90)
"""Degrees, without sign."""

FAILED = 8.0
"""Error in percent of the face's size above which a picture counts as a failure."""

# Drawn faces: one to turn, one to disturb.
_TURNED_SEED, _DISTURBED_SEED = 3, 8
_NOISE_SEED = 0

_LIGHT, _BLUR, _PIXELS, _NOISE, _LEAN = 1 / 16, 5.0, 16, 60.0, 45.0
THE_HARD = (
    f"In the dark 1/{1 / _LIGHT:.0f} of the light is left; blur has a standard deviation of "
    f"{_BLUR:g} pixels in 128, noise one of {_NOISE:g} in 255."
)
"""What the words for disturbances do not say."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One crop to find landmarks in.

    Attributes:
        what: A word for what was done, such as "yaw 30" or "dark".
        view: The crop and its landmarks.
        counted: bool (68,), the landmarks by which the network is judged.
    """

    what: str
    view: HeadView
    counted: np.ndarray


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a network made of a trial.

    Attributes:
        trial: The trial.
        landmarks: float32 (68, 2), pixels of the crop.
        certainty: float32 (68,): the standard deviation in pixels of the crop of a calibrated
            network, else the confidence, 0 to 1.
        error: Mean distance of the landmarks that count from their places, in percent of the size
            of the face (the root of the area of the box around all landmarks); None if none counts.
    """

    trial: Trial
    landmarks: np.ndarray
    certainty: np.ndarray
    error: float | None


@dataclass(frozen=True, eq=False)
class Row:
    """A line of pictures.

    Attributes:
        heading: What they have in common.
        outcomes: From left to right.
    """

    heading: str
    outcomes: list[Outcome]


def try_preset(
    model: FaceAlignModel,
    all_landmarks: bool,
    photo: str | Path | None = None,
    head_model: str | Path | None = None,
) -> list[Row]:
    """Has a network find the landmarks of faces that are drawn, turned and disturbed.

    Args:
        model: The network.
        all_landmarks: See `turned_trials`.
        photo: A photo of a face to turn and disturb as well.
        head_model: ICT-FaceKit's head, to lay the photo over, see `photo_head`.

    Returns:
        Rows of pictures.

    Raises:
        FaceAlignError: If the network's landmarks are not the 68 of iBUG, or a file cannot be used.
    """
    if model.scheme.name != IBUG68.name:
        raise FaceAlignError(
            f"The figure of a card draws faces for {IBUG68.name}, and {model.name} has "
            f"{model.scheme.name}; leave the figure out (--no-figure)."
        )
    size = model.input_size
    trials = {
        "Drawn face, turned": turned_trials(drawn_head(_TURNED_SEED), size, 1, all_landmarks),
        "Drawn face, disturbed": disturbed_trials(drawn_head(_DISTURBED_SEED), size),
    }
    if photo is not None:
        head = photo_head(model, photo, head_model, outline=not all_landmarks)
        trials["Photo, turned"] = turned_trials(head, size, -1, all_landmarks, reference=True)
        trials["Photo, disturbed"] = disturbed_trials(head, size)
    return [Row(heading, judge(model, some)) for heading, some in trials.items()]


def turned_trials(
    head: Head, size: int, side: int, all_landmarks: bool, reference: bool = False
) -> list[Trial]:
    """The head at growing yaws.

    Args:
        head: The head.
        size: Side of the crops in pixels.
        side: 1 to turn the face to the left of the picture, -1 to the right.
        all_landmarks: Whether the network was taught where hidden landmarks of turned heads are,
            and the jaw's as points of the head; otherwise they do not count.
        reference: Whether the head has its landmarks from the network's own answer to the unturned
            picture, which then is shown, but says nothing.

    Returns:
        A trial for each of `YAWS`.
    """
    trials = []
    for yaw in YAWS:
        # A photo comes as it is, instead of turned by the degree or two that it looks aside.
        view = head.view(size, float(side * yaw) if yaw else None)
        counted = view.labeled | all_landmarks
        if reference and not yaw:
            trials.append(Trial("reference", view, np.zeros_like(counted)))
        else:
            trials.append(Trial(f"yaw {yaw}", view, counted))
    return trials


def disturbed_trials(head: Head, size: int) -> list[Trial]:
    """The picture as it is, with something that makes it hard to read; one for each of
    `DISTURBANCES`."""
    trials = []
    for what, disturb in DISTURBANCES.items():
        view = head.view(size, lean=_LEAN if what == _LEANING else 0.0)
        points = view.landmarks * (128 / size)
        large = cv2.resize(view.crop, (128, 128), interpolation=cv2.INTER_AREA).astype(np.float32)
        changed = np.rint(np.clip(disturb(large, points), 0, 255)).astype(np.uint8)
        crop = cv2.resize(changed, (size, size), interpolation=cv2.INTER_LINEAR)
        trials.append(Trial(what, replace(view, crop=crop), np.full(len(points), True)))
    return trials


def judge(model: FaceAlignModel, trials: list[Trial]) -> list[Outcome]:
    """Has a network find the landmarks of all trials.

    Args:
        model: Of the 68 iBUG landmarks.
        trials: Of crops of the model's `input_size`.
    """
    found = model.predict_outputs(np.stack([trial.view.crop for trial in trials]))
    certainty = found.get("sigma", found["confidence"])
    outcomes = []
    for trial, landmarks, sure in zip(trials, found["landmarks"], certainty, strict=True):
        true = trial.view.landmarks
        distance = np.linalg.norm(landmarks - true, axis=1)[trial.counted]
        size = np.sqrt(np.prod(np.ptp(true, axis=0)))
        error = float(100 * distance.mean() / size) if len(distance) else None
        outcomes.append(Outcome(trial, landmarks, sure, error))
    return outcomes


# Corruptions take a crop, float32 (128, 128, 3), and its landmarks, and give a crop.


def _half_covered(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A dark board before the right half of the picture."""
    edge = round(float(points[27:31, 0].mean()))
    crop[:, edge:] = (52, 48, 44)
    return crop


def _mouth_covered(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A mask over nose, mouth and chin."""
    outline = np.concatenate([points[2:15], points[29:30]])
    cv2.fillPoly(crop, [np.rint(outline).astype(np.int32)], (170, 205, 215), cv2.LINE_AA)
    return crop


def _dark(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """So little light that few steps of brightness are left."""
    return np.rint(crop * _LIGHT)


def _blurred(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(crop, (0, 0), _BLUR)


def _small(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    small = cv2.resize(crop, (_PIXELS, _PIXELS), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, crop.shape[:2], interpolation=cv2.INTER_LINEAR)


def _noisy(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    return crop + np.random.default_rng(_NOISE_SEED).normal(0, _NOISE, crop.shape)


_LEANING = f"leaning {_LEAN:.0f}"

DISTURBANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "half covered": _half_covered,
    "mask": _mouth_covered,
    "dark": _dark,
    "blurred": _blurred,
    f"{_PIXELS} pixels": _small,
    "noise": _noisy,
    _LEANING: lambda crop, points: crop,
}
"""What makes crops hard to read; changes the crop, float32 (128, 128, 3), 0 to 255."""
