"""The Menpo2D builder for TensorFlow Datasets."""
