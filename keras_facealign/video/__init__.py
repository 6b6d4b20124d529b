"""Faces in videos: reading and writing, tracking, smoothing."""

from keras_facealign.video.reading import Frame, VideoReader
from keras_facealign.video.smoothing import OneEuroFilter, Smoothing
from keras_facealign.video.sound import Sound
from keras_facealign.video.tracking import FaceTracker, TrackedFace
from keras_facealign.video.writing import CODECS, VideoWriter, video_writer

__all__ = [
    "CODECS",
    "FaceTracker",
    "Frame",
    "OneEuroFilter",
    "Smoothing",
    "Sound",
    "TrackedFace",
    "VideoReader",
    "VideoWriter",
    "video_writer",
]
