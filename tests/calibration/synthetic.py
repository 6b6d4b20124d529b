"""Calibrations and observations made up by rule, for tests that know what must come out."""

from __future__ import annotations

import numpy as np

from keras_facealign.calibration import Calibration, Observations
from keras_facealign.calibration.formula import face_sides
from keras_facealign.landmarks import IBUG68


def some_calibration(**changes):
    rng = np.random.default_rng(3)
    values = {
        "scheme": IBUG68,
        "input_size": 32,
        "spreads": [1.0, 1.5, 2.5, 6.0],
        "sigmas": [0.5, 0.6, 0.6, 4.0],
        "factors": rng.uniform(0.7, 1.4, 68),
        "bias": rng.normal(size=68),
        "peak_weights": rng.uniform(0, 1, 68),
        "spread_weights": -rng.uniform(0, 3, 68),
        "yaw_weights": 4 * rng.normal(size=68),
        "fitted_on": "nobody",
        "fingerprint": 7,
    }
    return Calibration(**{**values, **changes})


def observations(rows=400, seed=0, factors=None):
    """Errors with a standard deviation of 0.4 * spread * factor; wide maps are hidden ones.

    Landmarks on the person's left side are hidden by the head where the face is turned that way.
    """
    rng = np.random.default_rng(seed)
    spread = rng.uniform(2.0, 8.0, (rows, 68)).astype(np.float32)
    sigma = 0.4 * spread * (np.ones(68) if factors is None else factors)
    errors = np.linalg.norm(rng.normal(size=(rows, 68, 2)) * sigma[..., None], axis=-1)
    peak = rng.normal(size=(rows, 68))
    turn = rng.uniform(-0.4, 0.4, (rows, 1))
    visibility = np.full((rows, 68), 2, np.int32)
    odds = 4 + 1.0 * peak - 3.0 * np.log(spread)
    visibility[rng.uniform(size=(rows, 68)) > 1 / (1 + np.exp(-odds))] = 1
    away = turn * face_sides(IBUG68) < -0.25
    visibility[away & (rng.uniform(size=(rows, 68)) < 0.8)] = 0
    errors = np.where(visibility > 0, errors, np.nan).astype(np.float32)
    return Observations(
        scheme=IBUG68,
        input_size=128,
        spread=spread,
        confidence=(1 / (1 + np.exp(-peak))).astype(np.float32),
        yaw_asymmetry=turn.astype(np.float32),
        errors=errors,
        unregistered=errors * 1.5,
        visibility=visibility,
        face=np.arange(rows, dtype=np.int32) // 2,
    )
