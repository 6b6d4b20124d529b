"""The COFW builder for TensorFlow Datasets."""
