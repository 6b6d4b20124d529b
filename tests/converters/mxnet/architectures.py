"""The networks of the golden files, by their names there."""

from keras_facealign.networks import Architecture
from keras_facealign.networks.architecture import DEFORMABLE

# Full width: `param_manifests_full_width.json.gz`.
MANIFESTS = {
    "hg1d4_resnet": Architecture("hourglass", 1, 4, "resnet"),
    "hg2d4_resnet": Architecture("hourglass", 2, 4, "resnet"),
    "hg2d4_inception": Architecture("hourglass", 2, 4, "inception"),
    "hg2d4_hpm": Architecture("hourglass", 2, 4, "hpm"),
    "hg2d4_cab": Architecture("hourglass", 2, 4, "cab"),
    "hg2d3_hpm": Architecture("hourglass", 2, 3, "hpm"),
    "hg2d3_cab": Architecture("hourglass", 2, 3, "cab"),
    "hg2d3_cab_dcn3": Architecture("hourglass", 2, 3, "cab", deformable="both"),
    "sat2d3_cab": Architecture("sat", 2, 3, "cab"),
    "sat2d3_cab_dcn1": Architecture("sat", 2, 3, "cab", deformable="between"),
    "sat2d3_cab_dcn2": Architecture("sat", 2, 3, "cab", deformable="heads"),
    "sat2d3_cab_dcn3": Architecture("sat", 2, 3, "cab", deformable="both"),
    "sat2d4_cab": Architecture("sat", 2, 4, "cab"),
    "old_dla2d4": Architecture("dla", 2, 4, "cab"),
    "old_sat1_2d4": Architecture("sat_i", 2, 4, "cab"),
    "old_sat2_2d3": Architecture("sat_ii", 2, 3, "cab"),
    "old_sat3_2d3_dcn3_stn": Architecture(
        "sat", 2, 3, "cab", deformable="both", variant="insightface_2018", spatial_transformer=True
    ),
}

# Checkpoints with outputs, of width 0.1875.
_NARROW = {"width": 0.1875}
CHECKPOINTS = {
    "n_hg1d4_resnet_dcn0": Architecture("hourglass", 1, 4, "resnet", **_NARROW),
    "n_hg2d3_cab_dcn0": Architecture("hourglass", 2, 3, "cab", **_NARROW),
    "n_hg2d3_cab_dcn3_dfa": Architecture("hourglass", 2, 3, "cab", **_NARROW, deformable="both"),
    "n_hg2d3_hpm_dcn0": Architecture("hourglass", 2, 3, "hpm", **_NARROW),
    "n_hg2d4_cab_dcn0": Architecture("hourglass", 2, 4, "cab", **_NARROW),
    "n_hg2d4_resnet_dcn0": Architecture("hourglass", 2, 4, "resnet", **_NARROW),
    "n_old_dla2d4_cab": Architecture("dla", 2, 4, "cab", **_NARROW),
    "n_old_sat2_2d3_cab": Architecture("sat_ii", 2, 3, "cab", **_NARROW),
    "n_old_sat3_2d3_cab_dcn3_stn": Architecture(
        "sat",
        2,
        3,
        "cab",
        **_NARROW,
        deformable="both",
        variant="insightface_2018",
        spatial_transformer=True,
    ),
    "n_sat2d3_cab_dcn0": Architecture("sat", 2, 3, "cab", **_NARROW),
    "n_sat2d3_cab_dcn0_netsat2": Architecture("sat", 2, 3, "cab", **_NARROW, gate=True),
    "n_sat2d3_cab_dcn2": Architecture("sat", 2, 3, "cab", **_NARROW, deformable="heads"),
    "n_sat2d3_cab_dcn3": Architecture("sat", 2, 3, "cab", **_NARROW, deformable="both"),
}


def of_counts_row(row):
    """The architecture of a row of `counts_all.csv`."""
    return Architecture(
        "hourglass" if row["network"] == "hourglass" else "sat",
        int(row["stacks"]),
        int(row["net_n"]),
        row["block"],
        gate=row["net_sat"] == "2",
        deformable=DEFORMABLE[int(row["net_dcn"])],
        variant="dfa" if row["repo"] == "deep-face-alignment" else "if",
    )
