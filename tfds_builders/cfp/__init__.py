"""The CFP builder for TensorFlow Datasets."""
