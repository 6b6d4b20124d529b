"""The LFW builder for TensorFlow Datasets."""
