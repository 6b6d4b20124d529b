"""Mean faces of data sets and a portrait, to which schemes and conversions are compared.

`tests/data/landmarks/faces.npz` holds them; its README gives their sources.
"""

from __future__ import annotations

import numpy as np

from keras_facealign.landmarks import SCHEMES, convert_landmarks
from tests.paths import TESTS

DATA = TESTS / "data"


def faces(name):
    """Some face of the scheme (K, 2) or (K, 3): as near to frontal and symmetric as there is."""
    with np.load(DATA / "landmarks" / "faces.npz", allow_pickle=False) as file:
        stored = {key: file[key].astype(float) for key in file.files}
    if name in stored:
        return stored[name]
    if name.startswith("mediapipe"):
        return stored["portrait_mediapipe478"][: SCHEMES[name].num_landmarks]
    with np.load(DATA / "evaluation" / "spiga_300w_30.npz", allow_pickle=False) as file:
        truth = file["ground_truth"].astype(float)
    # The mean of the frontal ones of 30 faces, each of unit spread and upright by its eyes.
    turned = (truth[:, 30, 0] - truth[:, 0, 0]) / (truth[:, 16, 0] - truth[:, 0, 0]) - 0.5
    truth = truth[np.abs(turned) < 0.08]
    truth -= truth.mean(axis=1, keepdims=True)
    eyes = truth[:, 45] - truth[:, 36]
    scale = np.sqrt((truth**2).sum(axis=(1, 2)))
    turn = np.exp(-1j * np.angle(eyes[:, 0] + 1j * eyes[:, 1])) / scale
    upright = ((truth[..., 0] + 1j * truth[..., 1]) * turn[:, None]).mean(axis=0)
    mean = np.stack([upright.real, upright.imag], axis=-1)
    return mean if name == "ibug68" else convert_landmarks(mean, "ibug68", name)


def stretch(source, target):
    """`source` moved onto `target` by the best affine map.

    The mean faces of data sets are in units of boxes, so each is stretched in its own way.
    """
    ones = np.ones((len(source), 1))
    columns = np.hstack([source, ones])
    return columns @ np.linalg.lstsq(columns, target, rcond=None)[0]


def fit(source, target):
    """`source` moved onto `target` by the best rotation, scaling and shift (no mirroring)."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    u, s, v = np.linalg.svd(a.T @ b)
    signs = np.ones(len(s))
    signs[-1] = np.sign(np.linalg.det(u @ v))
    return a @ (u * signs) @ v * (s @ signs) / (a**2).sum() + target.mean(axis=0)
