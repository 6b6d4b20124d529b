"""Published figures of the networks that the presets reproduce.

They were measured with the authors' trained weights, which are not part of this library: a preset
is the same network with our own weights or without any.
"""

from __future__ import annotations

from dataclasses import dataclass

from keras_facealign._deprecated import deprecated_names


@dataclass(frozen=True)
class PaperNetwork:
    """One row of a published table.

    Args:
        preset: Name of the preset that has this network.
        label: Name of the network in the source.
        megabytes: Size of the checkpoint file (1e6 bytes, rounded down).
        ibug: NME on 300W's challenging subset in percent of the eye centers' distance.
        cofw: NME on COFW's test set in percent of the eye centers' distance.
        milliseconds: Time for a face on a Titan X.
        w300: NME on 300W's test set in percent of the eye centers' distance.
        aflw2000_3d: NME on AFLW2000-3D in percent of the box size.
    """

    preset: str
    label: str
    megabytes: int | None = None
    ibug: float | None = None
    cofw: float | None = None
    milliseconds: int | None = None
    w300: float | None = None
    aflw2000_3d: float | None = None


# Stacked Dense U-Nets with Dual Transformers for Robust Face Alignment (BMVC 2018), Table 1. The
# released code of SAT (III) makes a file of 40 MB, as its own documentation says, where the paper
# has 38, in the row of the outside transformer too.
TABLE1 = (
    PaperNetwork("hourglass1_resnet", "Hourglass1(d=4)-ResNet", 13, 7.32, 6.26, 26),
    PaperNetwork("hourglass2_resnet", "Hourglass2(d=4)-ResNet", 26, 7.22, 6.18, 49),
    PaperNetwork("hourglass2_inception", "Hourglass2(d=4)-Inception-ResNet", 38, 7.07, 6.08, 57),
    PaperNetwork("hourglass2_hpm", "Hourglass2(d=4)-HPM", 48, 6.98, 5.81, 47),
    PaperNetwork("hourglass2_cab", "Hourglass2(d=4)-CAB", 46, 6.93, 5.77, 52),
    PaperNetwork("hourglass2_hpm_d3", "Hourglass2(d=3)-HPM", 38, 6.95, 5.82, 39),
    PaperNetwork("hourglass2_cab_d3", "Hourglass2(d=3)-CAB", 37, 6.91, 5.78, 41),
    PaperNetwork("unet2_cab", "U-Net2(d=4)-CAB", 36, 7.17, 6.12, 37),
    PaperNetwork("dla2_cab", "DLA2(d=4)-CAB", 103, 6.92, 5.75, 61),
    PaperNetwork("sat_i2_cab", "SAT(I)2(d=4)-CAB", 131, 7.05, 5.91, 63),
    PaperNetwork("sat_ii2_cab", "SAT(II)2(d=3)-CAB", 83, 7.02, 5.89, 47),
    PaperNetwork("sat2_cab", "SAT(III)2(d=3)-CAB", 38, 6.88, 5.74, 41),
    PaperNetwork("dense_unet2_stn", "DenseU-Net + STN", 116, 6.81, 5.70, 49),
    PaperNetwork("dense_unet2_inside", "DenseU-Net + Inside Transformer", 49, 6.77, 5.63, 45),
    PaperNetwork("dense_unet2_outside", "DenseU-Net + Outside Transformer", 38, 6.80, 5.62, 41),
    PaperNetwork("dense_unet2_dual", "DenseU-Net + Dual Transformer", 49, 6.73, 5.55, 45),
)

# The models that deep-face-alignment, the MXNet code's successor, published with its README.
MXNET_MODELS = (
    PaperNetwork("hourglass2_resnet", "Hourglass2(d=4)-Resnet", 26, 7.719, 6.776, w300=6.482),
    PaperNetwork("hourglass2_hpm_d3", "Hourglass2(d=3)-HPM", 38, 7.249, 6.378, w300=6.049),
    PaperNetwork("hourglass2_cab", "Hourglass2(d=4)-CAB", 46, 7.168, 6.123, w300=5.684),
    PaperNetwork("sat2_cab", "SAT2(d=3)-CAB", 40, 7.052, 5.999, w300=5.618),
    PaperNetwork("hourglass2_cab_d3", "Hourglass2(d=3)-CAB", 37, 6.974, 5.983, w300=5.647),
    PaperNetwork("sat2_cab", "SAT2(d=3)-CAB-3D", aflw2000_3d=3.072),
    PaperNetwork("hourglass2_cab_d3_3d", "Hourglass2(d=3)-CAB-3D", aflw2000_3d=3.005),
)

__getattr__ = deprecated_names(__name__)
