"""The AFLW2000-3D builder for TensorFlow Datasets."""
