"""Measuring landmark accuracy: normalised errors, reports and plots.

Errors, rates and thresholds are in percent throughout.
"""

from keras_facealign.evaluation.measures import auc, ced, failure_rate, landmark_errors, nme
from keras_facealign.evaluation.normalizers import NORMALIZERS, normalizing_lengths
from keras_facealign.evaluation.plots import WorstFaces, plot_ced
from keras_facealign.evaluation.predictions import Predictions, predict
from keras_facealign.evaluation.report import THRESHOLDS, EvaluationReport

__all__ = [
    "NORMALIZERS",
    "THRESHOLDS",
    "EvaluationReport",
    "Predictions",
    "WorstFaces",
    "auc",
    "ced",
    "failure_rate",
    "landmark_errors",
    "nme",
    "normalizing_lengths",
    "plot_ced",
    "predict",
]
