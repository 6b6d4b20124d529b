"""The FaceSynthetics builder for TensorFlow Datasets."""
