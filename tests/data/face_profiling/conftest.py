from __future__ import annotations

import pytest

from keras_facealign.data.face_profiling import HeadFitter, load_head_model
from tests.data.face_profiling.head import write_model


@pytest.fixture(scope="session")
def model_path(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("head") / "head.npz")


@pytest.fixture(scope="session")
def model(model_path):
    return load_head_model(model_path)


@pytest.fixture(scope="session")
def fitter(model):
    return HeadFitter(model)
