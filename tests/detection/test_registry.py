"""Detectors by name."""

from __future__ import annotations

import pytest

from keras_facealign.detection import BlazeFaceDetector, MTCNNDetector, get_detector
from keras_facealign.errors import FaceAlignError


def test_get_detector():
    def own(image):
        return []

    assert get_detector(own) is own
    assert get_detector(None) is None
    assert isinstance(get_detector("mtcnn"), MTCNNDetector)
    assert isinstance(get_detector("blazeface"), BlazeFaceDetector)
    assert isinstance(get_detector("auto"), BlazeFaceDetector)
    with pytest.raises(FaceAlignError, match="Unknown detector 'MTCNN2'"):
        get_detector("MTCNN2")
    with pytest.raises(FaceAlignError, match=r"Unknown detector \[\]; give 'auto', 'blazeface'"):
        get_detector([])
