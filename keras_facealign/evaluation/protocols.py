"""PublishedResult evaluation protocols by name: faces, landmarks, normalizer, thresholds and parts.

All crop by the tight box around a face's labeled landmarks, as comparable publications do, on
AFLW2000-3D because there is no other; detected boxes are an option of the run, and the report says
which were used.

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
from keras_facealign.evaluation.report import THRESHOLDS, EvaluationReport
from keras_facealign.landmarks import get_scheme

__all__ = ["PROTOCOLS", "Protocol", "get_protocol", "yaw_groups"]

Arrays = Mapping[str, np.ndarray]
Groups = dict[str, np.ndarray]

YAW_BINS = ("yaw 0 to 30", "yaw 30 to 60", "yaw 60 to 90")
"""Names of the bins of AFLW2000-3D."""

_WFLW_SUBSETS = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")


def yaw_groups(yaw: np.ndarray) -> Groups:
    """The bins |yaw| <= 30, (30, 60] and > 60 degrees.

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


def _by_subset(**prefixes: tuple[str, ...]) -> Callable[[Arrays], Groups]:
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
    """What makes two evaluations comparable.

    Attributes:
        name: Key of `PROTOCOLS`.
        title: For people.
        scheme: Name of the labels' landmark scheme.
        normalizer: The main normalizer; all are reported.
        thresholds: As of `EvaluationReport`.
        curve: Right end of the cumulative error curve, percent.
        faces: Faces in the official set.
        reader: Module of `keras_facealign.data`, its function, and the function's arguments.
        grouping: Parts of the set that are reported apart as well.
        balanced: Groups whose means are averaged with equal weight.
        divide_by: As of `keras_facealign.evaluation.nme`.
        legacy: Set where the original code's own evaluation takes the place of ours.
    """

    name: str
    title: str
    scheme: str
    normalizer: str
    thresholds: tuple[float | tuple[str, float], ...]
    curve: float
    faces: int
    reader: tuple[str, str, dict[str, str]]
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
            on_skip: Called with the error of every broken file; it is passed over.

        Returns:
            An iterator of examples.

        Raises:
            FaceAlignError: If the set, or the part of it that the protocol needs, is not there.
        """
        import importlib

        module, function, arguments = self.reader
        load = getattr(importlib.import_module(f"keras_facealign.data.{module}"), function)
        return load(root, **arguments, on_skip=on_skip)

    def report(self, predictions: Predictions, /, **info: Any) -> EvaluationReport:
        """Measures predictions under this protocol.

        Args:
            predictions: The faces.
            **info: What to keep beside the numbers.

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


def _w300(split: str, title: str, faces: int, **options: Any) -> Protocol:
    settings: dict[str, Any] = {"thresholds": THRESHOLDS, "curve": 8.0, **options}
    return Protocol(
        name=f"300w_{split}",
        title=title,
        scheme="ibug68",
        normalizer="inter_ocular",
        faces=faces,
        reader=("ibug_300w", "load_samples", {"split": split}),
        **settings,
    )


def _aflw2000(name: str, title: str, labels: str) -> Protocol:
    return Protocol(
        name=name,
        title=title,
        scheme="ibug68",
        normalizer="box_size",
        thresholds=(10.0,),
        curve=10.0,
        faces=2000,
        reader=("w300_lp", "load_aflw2000", {"labels": labels}),
        grouping=_by_pose,
        balanced=YAW_BINS,
    )


def _legacy(name: str, title: str, like: Protocol, legacy: MXNetProtocol) -> Protocol:
    return Protocol(
        name=name,
        title=title,
        scheme="ibug68",
        normalizer=legacy.normalizer,
        thresholds=THRESHOLDS,
        curve=10.0,
        faces=like.faces,
        reader=like.reader,
        legacy=legacy,
    )


_CHALLENGE = _w300("challenge", "300W challenge", 135)
_COFW68 = Protocol(
    name="cofw68",
    title="COFW68",
    scheme="ibug68",
    normalizer="eye_center",
    thresholds=(10.0, ("box_size", 7.0)),
    curve=10.0,
    faces=507,
    reader=("cofw", "load_cofw68", {}),
)
_AFLW2000 = _aflw2000("aflw2000_3d", "AFLW2000-3D", "original")

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        _w300("common", "300W common", 554),
        _CHALLENGE,
        _w300(
            "full",
            "300W full",
            689,
            grouping=_by_subset(
                common=("helen", "lfpw"), challenge=("ibug",), helen=("helen",), lfpw=("lfpw",)
            ),
        ),
        _w300(
            "test",
            "300W test",
            600,
            thresholds=(*THRESHOLDS, ("box_size", 7.0)),
            grouping=_by_subset(indoor=("Test/01",), outdoor=("Test/02",)),
        ),
        Protocol(
            name="cofw29",
            title="COFW",
            scheme="cofw29",
            normalizer="inter_ocular",
            thresholds=(10.0, ("eye_center", 10.0)),
            curve=10.0,
            faces=507,
            reader=("cofw", "load_samples", {"split": "test"}),
        ),
        _COFW68,
        Protocol(
            name="menpo2d",
            title="Menpo2D, semi-frontal",
            scheme="ibug68",
            normalizer="box_diagonal",
            thresholds=(3.0,),
            curve=3.0,
            faces=5335,
            reader=("menpo2d", "load_samples", {"split": "test"}),
        ),
        _AFLW2000,
        _aflw2000("aflw2000_3d_reannotated", "AFLW2000-3D, re-annotated", "reannotated"),
        Protocol(
            name="wflw",
            title="WFLW",
            scheme="wflw98",
            normalizer="inter_ocular",
            thresholds=(10.0,),
            curve=10.0,
            faces=2500,
            reader=("wflw", "load_samples", {"split": "test"}),
            grouping=_by_attribute,
        ),
        Protocol(
            name="merl_rav",
            title="MERL-RAV",
            scheme="ibug68",
            normalizer="box_size",
            thresholds=(7.0,),
            curve=7.0,
            faces=3865,
            reader=("merl_rav", "load_samples", {"split": "test"}),
            grouping=_by_subset(
                frontal=("frontal",),
                half_profile=("lefthalf", "righthalf"),
                profile=("left/", "right/"),
            ),
            divide_by="all",
        ),
        _legacy("legacy_mxnet", "iBUG, original code's measure", _CHALLENGE, MXNetProtocol()),
        _legacy(
            "legacy_mxnet_cofw68",
            "COFW68, original code's measure",
            _COFW68,
            MXNetProtocol(image_set="cofw_testset"),
        ),
        _legacy(
            "legacy_mxnet_3d",
            "AFLW2000-3D, original code's measure",
            _AFLW2000,
            MXNetProtocol(dimensions=3, image_set="AFLW2000-3D"),
        ),
        _legacy(
            "legacy_mxnet_insightface",
            "iBUG, measure of insightface's code",
            _CHALLENGE,
            MXNetProtocol("insightface"),
        ),
    )
}
"""All protocols by name."""


def get_protocol(name: str) -> Protocol:
    """Looks a protocol up by its name.

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
