"""BlazeFace, a face detector of one small network, in NumPy and TFLite."""
