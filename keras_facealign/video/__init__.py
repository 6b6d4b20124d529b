"""Faces in videos: reading and writing, tracking, smoothing."""

from keras_facealign.video.files import Frame, VideoReader, VideoWriter, draw_tracked, video_writer
from keras_facealign.video.smoothing import OneEuroFilter, Smoothing
from keras_facealign.video.tracking import FaceTracker, TrackedFace

__all__ = [
    "FaceTracker",
    "Frame",
    "OneEuroFilter",
    "Smoothing",
    "TrackedFace",
    "VideoReader",
    "VideoWriter",
    "draw_tracked",
    "video_writer",
]
