"""Measuring landmark accuracy: normalized errors, published protocols, reports and plots.

Errors, rates and thresholds are in percent throughout.
"""

from keras_facealign._deprecated import deprecated_names
from keras_facealign.evaluation.external_predictions import predictions_from_file
from keras_facealign.evaluation.legacy_mxnet.protocol import MXNetProtocol
from keras_facealign.evaluation.measures import auc, ced, failure_rate, landmark_errors, nme
from keras_facealign.evaluation.normalizers import (
    NORMALIZERS,
    defined_normalizers,
    normalizing_lengths,
)
from keras_facealign.evaluation.occlusion import occlusion_detection, visibility_errors
from keras_facealign.evaluation.plots import WorstFaces, plot_ced
from keras_facealign.evaluation.prediction_files import read_landmarks
from keras_facealign.evaluation.predictions import Predictions, predict
from keras_facealign.evaluation.protocols import PROTOCOLS, Protocol, get_protocol, yaw_groups
from keras_facealign.evaluation.published import PUBLISHED, PublishedResult, published_for
from keras_facealign.evaluation.report import EvaluationReport
from keras_facealign.evaluation.statistics import THRESHOLDS

__all__ = [
    "NORMALIZERS",
    "PROTOCOLS",
    "PUBLISHED",
    "THRESHOLDS",
    "EvaluationReport",
    "MXNetProtocol",
    "Predictions",
    "Protocol",
    "PublishedResult",
    "WorstFaces",
    "auc",
    "ced",
    "defined_normalizers",
    "failure_rate",
    "get_protocol",
    "landmark_errors",
    "nme",
    "normalizing_lengths",
    "occlusion_detection",
    "plot_ced",
    "predict",
    "predictions_from_file",
    "published_for",
    "read_landmarks",
    "visibility_errors",
    "yaw_groups",
]

__getattr__ = deprecated_names(__name__)
