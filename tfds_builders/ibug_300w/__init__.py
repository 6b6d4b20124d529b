"""The 300W builder for TensorFlow Datasets."""
