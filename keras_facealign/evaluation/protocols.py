"""Published evaluation protocols by name: faces, landmarks, normalizer, thresholds and parts.

All crop by the tight box around a face's labeled landmarks, as comparable publications do
(AFLW2000-3D has no other boxes); detected boxes are an option of the run, and the report names the
boxes used.

| name | faces | landmarks | main normalizer | AUC and failure rate at |
|---|---|---|---|---|
| `300w_common`, `_challenge`, `_full` | 554, 135, 689 | 68 | inter-ocular | 8, 10 |
| `300w_test` | 600 | 68 | inter-ocular | 8, 10; box size 7 |
| `cofw29` | 507 | 29 | inter-ocular | 10; between the pupils 10 |
| `cofw68` | 507 | 68 | eye center | 10; box size 7 |
| `menpo2d` | 5335 | 68 | box diagonal | 3 |
| `aflw2000_3d`, `_reannotated` | 2000 | 68 | box size | 10 |
| `wflw` | 2500 | 98 | inter-ocular | 10 |
| `merl_rav` | 3865 | 68 | box size | 7 |
| `legacy_mxnet`, `_cofw68`, `_3d`, `_insightface` | as theirs | 68 | see `MXNetProtocol` | 8, 10 |
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.legacy_mxnet.protocol import MXNetProtocol
from keras_facealign.evaluation.predictions import Predictions
from keras_facealign.evaluation.report import EvaluationReport
from keras_facealign.evaluation.statistics import THRESHOLDS
from keras_facealign.landmarks import get_scheme

Arrays = Mapping[str, np.ndarray]
Groups = dict[str, np.ndarray]

YAW_BINS = ("yaw 0 to 30", "yaw 30 to 60", "yaw 60 to 90")
"""Names of the bins of AFLW2000-3D."""

_WFLW_SUBSETS = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")


def yaw_groups(yaw: np.ndarray) -> Groups:
    """Divides faces into the bins |yaw| <= 30, (30, 60] and > 60 degrees.

    Args:
        yaw: (N,) degrees, signed or not.

    Returns:
        bool (N,) for each of `YAW_BINS`.
    """
    size = np.abs(np.asarray(yaw, np.float64))
    return dict(zip(YAW_BINS, (size <= 30, (size > 30) & (size <= 60), size > 60), strict=True))


def _by_pose(arrays: Arrays) -> Groups:
    # pitch, yaw, roll
    return yaw_groups(arrays["pose"][:, 1]) if "pose" in arrays else {}


def _by_attribute(arrays: Arrays) -> Groups:
    if "attributes" not in arrays:
        return {}
    return {name: arrays["attributes"][:, column] > 0 for column, name in enumerate(_WFLW_SUBSETS)}


def _by_subset(**prefixes: str | tuple[str, ...]) -> Callable[[Arrays], Groups]:
    """Groups of faces whose subset starts with one of the prefixes."""

    def groups(arrays: Arrays) -> Groups:
        names = arrays["subsets"].tolist()
        return {
            key.replace("_", " "): np.array([name.startswith(starts) for name in names], bool)
            for key, starts in prefixes.items()
        }

    return groups


@dataclass(frozen=True)
class Protocol:
    """Settings that make two evaluations comparable.

    Attributes:
        name: Key of `PROTOCOLS`.
        title: Name for people.
        faces: Faces in the official set.
        data_set: Data set, as of `keras_facealign.data.catalog.load`.
        split: Split of the data set.
        normalizer: The main normalizer; all are reported.
        thresholds: As of `EvaluationReport`.
        curve: Right end of the cumulative error curve, percent.
        scheme: Name of the labels' landmark scheme.
        grouping: Parts of the set that are reported separately as well.
        balanced: Groups whose means are averaged with equal weight.
        divide_by: As of `keras_facealign.evaluation.nme`.
        legacy: The original code's evaluation, if the protocol uses it instead of ours.
    """

    name: str
    title: str
    faces: int
    data_set: str
    split: str = "test"
    normalizer: str = "inter_ocular"
    thresholds: tuple[float | tuple[str, float], ...] = (10.0,)
    curve: float = 10.0
    scheme: str = "ibug68"
    grouping: Callable[[Arrays], Groups] | None = None
    balanced: tuple[str, ...] = ()
    divide_by: Literal["labeled", "all"] = "labeled"
    legacy: MXNetProtocol | None = None

    def load(
        self, root: Path, on_skip: Callable[[FaceAlignError], None] | None = None
    ) -> Iterator[Any]:
        """Reads the protocol's labeled faces from the data set's official layout.

        Args:
            root: The data set's folder.
            on_skip: Called with the error of every broken file, which is skipped.

        Returns:
            An iterator of examples.

        Raises:
            FaceAlignError: If the set, or the part of it that the protocol needs, is not there.
        """
        from keras_facealign.data.catalog import load

        return load(self.data_set, root, self.split, on_skip=on_skip)

    def report(self, predictions: Predictions, /, **info: Any) -> EvaluationReport:
        """Measures predictions under this protocol.

        Args:
            predictions: The faces.
            **info: What to keep with the numbers.

        Returns:
            The report. Bins whose label (pose, attributes) the faces lack are left out.

        Raises:
            FaceAlignError: If there is no face, or they have another number of landmarks.
        """
        arrays = predictions.arrays()
        groups = self.grouping(arrays) if self.grouping and "prediction" in arrays else {}
        return predictions.report(
            scheme=get_scheme(self.scheme),
            normalizer=self.normalizer,
            thresholds=self.thresholds,
            groups=groups,
            balanced=self.balanced if groups else (),
            divide_by=self.divide_by,
            info={"protocol": self.name, **info, "official_faces": self.faces},
        )


def _ibug_300w(split: str, faces: int, thresholds: Any = THRESHOLDS, **groups: Any) -> Protocol:
    grouping = _by_subset(**groups) if groups else None
    return Protocol(
        f"300w_{split}", f"300W {split}", faces, "ibug_300w", split,
        thresholds=thresholds, curve=8.0, grouping=grouping,
    )  # fmt: skip


def _aflw2000(name: str, title: str, labels: str) -> Protocol:
    return Protocol(
        name, title, 2000, f"aflw2000_3d/{labels}", normalizer="box_size",
        grouping=_by_pose, balanced=YAW_BINS,
    )  # fmt: skip


def _legacy(suffix: str, title: str, like: Protocol, legacy: MXNetProtocol) -> Protocol:
    return Protocol(
        f"legacy_mxnet{suffix}", title, like.faces, like.data_set, like.split,
        normalizer=legacy.normalizer, thresholds=THRESHOLDS, legacy=legacy,
    )  # fmt: skip


_300W_FULL = {
    "common": ("helen", "lfpw"),
    "challenge": ("ibug",),
    "helen": ("helen",),
    "lfpw": ("lfpw",),
}
_MERL_RAV = _by_subset(
    frontal=("frontal",), half_profile=("lefthalf", "righthalf"), profile=("left/", "right/")
)
_CHALLENGE = _ibug_300w("challenge", 135)
_COFW68 = Protocol(
    "cofw68", "COFW68", 507, "cofw68", "test", "eye_center", (10.0, ("box_size", 7.0))
)
_AFLW2000 = _aflw2000("aflw2000_3d", "AFLW2000-3D", "original")
_MENPO2D = "Menpo2D, semi-frontal"

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        _ibug_300w("common", 554),
        _CHALLENGE,
        _ibug_300w("full", 689, **_300W_FULL),
        _ibug_300w(
            "test", 600, (*THRESHOLDS, ("box_size", 7.0)), indoor="Test/01", outdoor="Test/02"
        ),
        Protocol(
            "cofw29", "COFW", 507, "cofw", thresholds=(10.0, ("eye_center", 10.0)), scheme="cofw29"
        ),
        _COFW68,
        Protocol("menpo2d", _MENPO2D, 5335, "menpo2d", "test", "box_diagonal", (3.0,), 3.0),
        _AFLW2000,
        _aflw2000("aflw2000_3d_reannotated", "AFLW2000-3D, re-annotated", "reannotated"),
        Protocol("wflw", "WFLW", 2500, "wflw", scheme="wflw98", grouping=_by_attribute),
        Protocol(
            "merl_rav", "MERL-RAV", 3865, "merl_rav", "test", "box_size", (7.0,), 7.0,
            grouping=_MERL_RAV, divide_by="all",
        ),
        _legacy("", "iBUG, original code's measure", _CHALLENGE, MXNetProtocol()),
        _legacy(
            "_cofw68", "COFW68, original code's measure", _COFW68,
            MXNetProtocol(image_set="cofw_testset"),
        ),
        _legacy(
            "_3d", "AFLW2000-3D, original code's measure", _AFLW2000,
            MXNetProtocol(dimensions=3, image_set="AFLW2000-3D"),
        ),
        _legacy(
            "_insightface", "iBUG, measure of insightface's code", _CHALLENGE,
            MXNetProtocol("insightface"),
        ),
    )
}  # fmt: skip
"""All protocols by name."""


def get_protocol(name: str) -> Protocol:
    """Returns a protocol by its name.

    Raises:
        FaceAlignError: If there is none of that name.

    Example:
        >>> get_protocol("aflw2000_3d").faces
        2000
    """
    renamed = re.sub("^sdu_legacy", "legacy_mxnet", name)
    if renamed != name:
        warnings.warn(
            f"The protocol {name!r} is now {renamed!r}; the old name goes in version 0.3.",
            FutureWarning,
            stacklevel=2,
        )
        name = renamed
    if name not in PROTOCOLS:
        raise FaceAlignError(
            f"Unknown protocol {name!r}; choose one of: {', '.join(sorted(PROTOCOLS))}."
        )
    return PROTOCOLS[name]
