"""The 300W-LP builder for TensorFlow Datasets."""
