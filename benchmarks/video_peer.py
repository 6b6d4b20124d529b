"""Tracks, draws and encodes a video with MediaPipe and OpenCV, for `video.py --speed`.

    python benchmarks/video_peer.py INPUT OUTPUT

It imports nothing of this library: MediaPipe has an environment of its own.
"""

from __future__ import annotations

import sys
import time

import cv2
import numpy as np


def main(source: str, target: str) -> None:
    """Prints frames a second, processor time and faces a frame."""
    import mediapipe

    mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=False, max_num_faces=2)
    mesh.process(np.zeros((64, 64, 3), np.uint8))
    capture = cv2.VideoCapture(source)
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(target, code, capture.get(cv2.CAP_PROP_FPS), (1280, 720))
    count = found = 0
    start, used = time.perf_counter(), time.process_time()
    while True:
        success, frame = capture.read()
        if not success:
            break
        faces = mesh.process(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)).multi_face_landmarks or []
        for face in faces:
            # As many dots as 68 landmarks have.
            for point in face.landmark[::7]:
                place = round(point.x * 1280), round(point.y * 720)
                cv2.circle(frame, place, 2, (128, 230, 92), cv2.FILLED, cv2.LINE_AA)
        writer.write(frame)
        count, found = count + 1, found + len(faces)
    writer.release()
    spent, used = time.perf_counter() - start, time.process_time() - used
    print(
        f"MediaPipe: {count / spent:.1f} frames/s, {1e3 * used / count:.1f} ms of processor time "
        f"a frame, {found / count:.2f} faces a frame"
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
