"""Draws the README's picture: a photo enlarged, aligned, and drawn on.

python examples/draw_portrait.py docs/astronaut.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from keras_facealign import FaceAligner
from keras_facealign.formats import write_image
from keras_facealign.inference import draw_faces

PHOTO = Path(__file__).parent / "astronaut.jpg"
HEAD = (90, 0, 390, 256)  # left, top, right, bottom in pixels of the photo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", help="picture to write, such as portrait.png")
    args = parser.parse_args()
    head = Image.open(PHOTO).crop(HEAD)
    # Lines drawn on an enlarged picture come out finer than the pixels of the photo.
    picture = np.asarray(head.resize((3 * head.width, 3 * head.height), Image.Resampling.LANCZOS))
    faces = FaceAligner.from_preset("sat1_cab_mobile").align(picture)
    write_image(args.output, draw_faces(picture, faces))


if __name__ == "__main__":
    main()
