"""MERL-RAV as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from keras_facealign.data.readers import merl_rav
from tfds_builders._common import FaceBuilder


class Builder(FaceBuilder):
    """Builds `merl_rav` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Get the labels from https://github.com/abhi1kumar/MERL-RAV_dataset and the pictures of AFLW from
    https://www.tugraz.at/institute/icg/research/team-bischof/lrs/downloads/aflw/, put them together
    with the script that comes with the labels, and give the folder that holds merl_rav_organized
    (or frontal, left and so on) as manual_dir.
    """

    HOMEPAGE = "https://github.com/abhi1kumar/MERL-RAV_dataset"
    READER = merl_rav
    BEAM = True
    VISIBILITY = "0 where the face itself hides it"
    SUBSET = "Pose and split, such as lefthalf/trainset."
