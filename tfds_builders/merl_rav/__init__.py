"""The MERL-RAV builder for TensorFlow Datasets."""
