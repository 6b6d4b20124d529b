"""Landmarks in files: JSON, CSV, PTS and COCO."""

from keras_facealign.formats.faces import write_face, write_image

__all__ = ["write_face", "write_image"]
