"""The COFW68 builder for TensorFlow Datasets."""
