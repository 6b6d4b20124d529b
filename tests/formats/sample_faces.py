"""Faces and frames that the tests of all formats write."""

from __future__ import annotations

import numpy as np

from keras_facealign.formats import VideoInfo, frame_writer
from keras_facealign.inference import Face, HeadPose
from keras_facealign.video import TrackedFace

INFO = VideoInfo("clip é.mp4", 25.0, (640, 480))


def make_face(seed: int = 3) -> Face:
    rng = np.random.default_rng(seed)
    return Face(
        landmarks=rng.uniform(0, 500, (68, 2)).astype(np.float32),
        confidence=rng.uniform(0, 1, 68).astype(np.float32),
        box=np.array([1.5, 2, 300, 400], np.float32),
        score=0.875,
    )


def make_tracked(seed: int, number: int, posed: bool = True) -> TrackedFace:
    pose = HeadPose(12.345, -6.5, 0.25, np.eye(3), 0.1) if posed else None
    return TrackedFace(**vars(make_face(seed)), id=number, pose=pose)


FRAMES = [[make_tracked(0, 4), make_tracked(1, 9, posed=False)], [], [make_tracked(2, 9)]]


def write_frames(path, frames=FRAMES, complete=True):
    with frame_writer(path, INFO) as writer:
        for index, faces in enumerate(frames):
            size = (640, 480) if index < 2 else (320, 240)
            writer.write(index, index / 25, size, faces)
        writer.finish(len(frames), complete)
    return path
