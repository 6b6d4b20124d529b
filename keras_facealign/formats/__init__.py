"""Files of landmarks (JSON, JSON Lines, CSV, PTS, COCO) and of images."""

from keras_facealign.formats.coco import coco_writer
from keras_facealign.formats.files import frame_writer, write_face
from keras_facealign.formats.frames import VideoInfo
from keras_facealign.formats.images import write_image

__all__ = ["VideoInfo", "coco_writer", "frame_writer", "write_face", "write_image"]
