"""Draws the README's image: a photo, enlarged, with its landmarks.

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
    parser.add_argument("output", help="image to write, such as portrait.png")
    args = parser.parse_args()
    head = Image.open(PHOTO).crop(HEAD)
    # Enlarged, so that lines are finer than the pixels of the photo.
    image = np.asarray(head.resize((3 * head.width, 3 * head.height), Image.Resampling.LANCZOS))
    faces = FaceAligner.from_preset("sat1_cab_mobile").align(image)
    write_image(args.output, draw_faces(image, faces))


if __name__ == "__main__":
    main()
