"""MTCNN, a face detector of three small networks, in NumPy and TFLite."""
