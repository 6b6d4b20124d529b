"""What all writers of frames have in common."""

from __future__ import annotations

import tracemalloc

import pytest

from keras_facealign.formats import VideoInfo, coco_writer, frame_writer
from tests.formats.sample_faces import FRAMES


@pytest.mark.parametrize("name", ["f.json", "f.jsonl", "f.csv", "coco"])
def test_memory_does_not_grow_with_the_video(name, tmp_path):
    info = VideoInfo("clip.mp4", 25.0, (640, 480))

    def peak(count: int) -> int:
        tracemalloc.start()
        path = tmp_path / name
        with coco_writer(path, video=info) if name == "coco" else frame_writer(path, info) as out:
            for index in range(count):
                out.write(index, index / 25, (640, 480), FRAMES[2])
            out.finish(count, True)
        reached = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return reached

    peak(5)
    assert peak(400) < 1.5 * peak(40)
