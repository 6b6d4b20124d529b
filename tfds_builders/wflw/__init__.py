"""The WFLW builder for TensorFlow Datasets."""
