"""PublishedResult results to stand beside one's own, with their sources.

Only results under the same protocol and the same normalizer may be compared; each entry says both.
"Recomputed" are from predictions that the authors published, measured by this library.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PUBLISHED", "PublishedResult", "published_for"]


@dataclass(frozen=True)
class PublishedResult:
    """One published number.

    Attributes:
        protocols: Names of the protocols that it holds for.
        method: The method and its year.
        measure: `"nme"`, `"auc"`, or `"success"`: the share of images at or below the threshold.
        normalizer: What errors were divided by; see `keras_facealign.evaluation.NORMALIZERS`.
        value: Percent.
        threshold: Percent, of AUC and success.
        source: Where it is printed.
    """

    protocols: tuple[str, ...]
    method: str
    measure: str
    normalizer: str
    value: float
    source: str
    threshold: float | None = None


_PAPER = "Guo et al., Stacked Dense U-Nets with Dual Transformers, BMVC 2018"
_CODE = "README of github.com/deepinx/deep-face-alignment"
_SPIGA = "Prados-Torreblanca et al., SPIGA, BMVC 2022, recomputed"
_SPIGA_README = "README of github.com/andresprados/SPIGA"
_STAR = "Zhou et al., STAR Loss, CVPR 2023"
_PROPNET = "Huang et al., PropagationNet, CVPR 2020"
_HRNET = "README of github.com/HRNet/HRNet-Facial-Landmark-Detection"
_COFW68 = "github.com/golnazghiasi/cofw68-benchmark, recomputed"


def _nme(
    protocols: str, method: str, normalizer: str, value: float, source: str
) -> tuple[PublishedResult, ...]:
    return (PublishedResult(tuple(protocols.split()), method, "nme", normalizer, value, source),)


def _rate(
    protocol: str,
    method: str,
    measure: str,
    normalizer: str,
    threshold: float,
    value: float,
    source: str,
) -> PublishedResult:
    return PublishedResult((protocol,), method, measure, normalizer, value, source, threshold)


def _three(
    method: str, values: tuple[float, float, float], source: str
) -> tuple[PublishedResult, ...]:
    """Inter-ocular NMEs on 300W: common, challenge, full."""
    names = ("300w_common", "300w_challenge", "300w_full")
    return tuple(
        entry
        for name, value in zip(names, values, strict=True)
        for entry in _nme(name, method, "inter_ocular", value, source)
    )


_DENSE_UNET = "DenseU-Net + Dual Transformer 2018"
_REANNOTATED = "aflw2000_3d_reannotated"

PUBLISHED: tuple[PublishedResult, ...] = (
    *_nme("300w_challenge", _DENSE_UNET, "eye_center", 6.73, _PAPER),
    *_nme("cofw68", _DENSE_UNET, "eye_center", 5.55, _PAPER),
    _rate("cofw68", _DENSE_UNET, "success", "eye_center", 10, 98.22, _PAPER),
    *_nme("aflw2000_3d", _DENSE_UNET, "box_size", 3.07, _PAPER),
    *_nme("legacy_mxnet", "SAT2-CAB, MXNet code", "eye_corner_center", 7.052, _CODE),
    *_nme("legacy_mxnet", "Hourglass2-CAB, MXNet code", "eye_corner_center", 6.974, _CODE),
    *_nme("legacy_mxnet_cofw68", "SAT2-CAB, MXNet code", "eye_corner_center", 5.999, _CODE),
    *_nme("legacy_mxnet_cofw68", "Hourglass2-CAB, MXNet code", "eye_corner_center", 5.983, _CODE),
    *_nme("legacy_mxnet_3d", "SAT2-CAB, MXNet code", "box_size", 3.072, _CODE),
    *_nme("legacy_mxnet_3d", "Hourglass2-CAB, MXNet code", "box_size", 3.005, _CODE),
    *_three("HRNetV2-W18 2019", (2.91, 5.11, 3.34), _HRNET),
    *_three("PropNet 2020", (2.67, 3.99, 2.93), _PROPNET),
    *_nme("300w_challenge", "PropNet 2020", "eye_center", 5.75, _PROPNET),
    *_three("SPIGA 2022", (2.587, 4.662, 2.994), _SPIGA),
    *_nme("300w_challenge", "SPIGA 2022", "eye_center", 6.733, _SPIGA),
    _rate("300w_full", "SPIGA 2022", "auc", "inter_ocular", 8, 62.726, _SPIGA_README),
    *_three("STAR 2023", (2.52, 4.32, 2.87), _STAR),
    *_nme("300w_challenge", "STAR 2023", "eye_center", 6.22, _STAR),
    *_nme("300w_test", "HRNetV2-W18 2019", "inter_ocular", 3.85, _HRNET),
    *_nme("300w_test", "SPIGA 2022", "inter_ocular", 3.430, _SPIGA),
    *_nme("300w_test", "SPIGA 2022", "box_size", 2.031, _SPIGA_README),
    _rate("300w_test", "SPIGA 2022", "auc", "box_size", 7, 71.011, _SPIGA_README),
    *_nme("cofw29", "HRNetV2-W18 2019", "inter_ocular", 3.45, _HRNET),
    *_nme("cofw29", "STAR 2023", "inter_ocular", 3.21, _STAR),
    *_nme("cofw29", "STAR 2023", "eye_center", 4.62, _STAR),
    *_nme("cofw68", "RCPR 2013", "eye_center", 12.271, _COFW68),
    _rate("cofw68", "RCPR 2013", "success", "eye_center", 10, 57.594, _COFW68),
    *_nme("cofw68", "HPM 2014", "eye_center", 9.399, _COFW68),
    _rate("cofw68", "HPM 2014", "success", "eye_center", 10, 72.387, _COFW68),
    *_nme("cofw68", "SAPM 2015", "eye_center", 9.286, _COFW68),
    _rate("cofw68", "SAPM 2015", "success", "eye_center", 10, 71.203, _COFW68),
    *_nme("cofw68", "CFSS 2015", "eye_center", 8.799, _COFW68),
    _rate("cofw68", "CFSS 2015", "success", "eye_center", 10, 78.107, _COFW68),
    *_nme("cofw68", "TCDCN 2014", "eye_center", 10.722, _COFW68),
    _rate("cofw68", "TCDCN 2014", "success", "eye_center", 10, 58.974, _COFW68),
    *_nme("cofw68", "SPIGA 2022", "eye_center", 5.509, _SPIGA),
    *_nme("cofw68", "SPIGA 2022", "box_size", 2.517, _SPIGA_README),
    _rate("cofw68", "SPIGA 2022", "auc", "box_size", 7, 64.050, _SPIGA_README),
    *_nme("aflw2000_3d", "3DDFA_V2 2020", "box_size", 3.51, "Guo et al., 3DDFA_V2, ECCV 2020"),
    *_nme("aflw2000_3d", "SynergyNet 2021", "box_size", 3.41, "Wu et al., SynergyNet, 3DV 2021"),
    *_nme(_REANNOTATED, "SynergyNet 2021", "box_size", 2.65, "Wu et al., SynergyNet, 3DV 2021"),
    *_nme("wflw", "HRNetV2-W18 2019", "inter_ocular", 4.60, _HRNET),
    *_nme("wflw", "SPIGA 2022", "inter_ocular", 4.060, _SPIGA_README),
    _rate("wflw", "SPIGA 2022", "auc", "inter_ocular", 10, 60.558, _SPIGA_README),
    _rate("wflw", "SPIGA 2022", "success", "inter_ocular", 10, 97.920, _SPIGA_README),
    *_nme("wflw", "STAR 2023", "inter_ocular", 4.02, _STAR),
    *_nme("merl_rav", "SPIGA 2022", "box_size", 1.509, _SPIGA_README),
    _rate("merl_rav", "SPIGA 2022", "auc", "box_size", 7, 78.474, _SPIGA_README),
)


def published_for(protocol: str | None) -> list[PublishedResult]:
    """The published results under a protocol; none for no protocol.

    Example:
        >>> published_for("aflw2000_3d")[0].value
        3.07
    """
    return [entry for entry in PUBLISHED if protocol in entry.protocols]
