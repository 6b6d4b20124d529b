"""Draws where the taps of a network's deformable convolutions look on a face.

python examples/deformable_offsets.py dense_unet2_dual offsets.png

A preset without trained weights, or whose offsets are still all zero, would show plain 3x3 grids.
Its offset convolutions are then given random weights, and the picture says so: it shows what the
layer does, not what a network has learned.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image, ImageDraw

from keras_facealign import geometry
from keras_facealign.geometry import crop_face
from keras_facealign.layers import DeformableConv2D
from keras_facealign.models import FaceAlignModel
from keras_facealign.ops import map_to_input
from keras_facealign.presets import find_preset, from_preset

PHOTO = Path(__file__).parent / "astronaut.jpg"
FACE = (172, 62, 280, 206)  # left, top, right, bottom in pixels of that photo
ZOOM = 5  # pixels of the drawing a pixel of the crop
RANDOM_PIXELS = 1.5  # standard deviation of offsets where none have been learned


def load(name: str) -> tuple[FaceAlignModel, bool]:
    """The model, and whether its weights are trained ones."""
    trained = (find_preset(name) / "model.weights.h5").is_file()
    return from_preset(name, load_weights=trained), trained


def deformable_layers(model: FaceAlignModel) -> list[DeformableConv2D]:
    """The deformable layers that compute offsets of their own, in the order of the network."""
    layers = model._flatten_layers(include_self=False)
    return [la for la in layers if isinstance(la, DeformableConv2D) and la.offset is not None]


def record(model: FaceAlignModel, images: np.ndarray, layers: list[DeformableConv2D]) -> list[Any]:
    """Offsets (Ho, Wo, groups, taps, 2) of each layer for the first image, as NumPy."""
    found: dict[str, np.ndarray] = {}

    def wrapped(layer: DeformableConv2D) -> Any:
        compute = layer.compute_offsets

        def compute_and_keep(inputs: Any) -> Any:
            offsets, mask = compute(inputs)
            found[layer.path] = keras.ops.convert_to_numpy(offsets)[0]
            return offsets, mask

        return compute_and_keep

    for layer in layers:
        layer.compute_offsets = wrapped(layer)
    try:
        model(images)  # called eagerly, so that values can be read
    finally:
        for layer in layers:
            del layer.compute_offsets
    shapes = [(la.deformable_groups, la.samples // la.deformable_groups, 2) for la in layers]
    return [
        found[layer.path].reshape(*found[layer.path].shape[:2], *shape)
        for layer, shape in zip(layers, shapes, strict=True)
    ]


def randomize(layer: DeformableConv2D, offsets: np.ndarray, rng: np.random.Generator) -> None:
    """Scales random weights so that the layer's offsets are about `RANDOM_PIXELS`."""
    kernel = np.asarray(keras.ops.convert_to_numpy(layer.offset.kernel))
    scale = RANDOM_PIXELS / offsets.std() if offsets.std() > 0 else 0.0
    new = kernel * scale if scale else rng.normal(size=kernel.shape)
    layer.offset.kernel.assign(new.astype("float32"))


def positions(layer: DeformableConv2D, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns centers (Ho, Wo, 2) and sampling points (Ho, Wo, taps, 2) of the first group.

    x before y, in pixels of the layer's input, for "same" padding and stride 1, as in the networks.
    """
    rows, columns = offsets.shape[:2]
    y, x = np.mgrid[:rows, :columns].astype(float)
    taps_y, taps_x = (
        (np.arange(n) - (n - 1) // 2) * d
        for n, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)
    )
    grid_y, grid_x = (g.ravel() for g in np.meshgrid(taps_y, taps_x, indexing="ij"))
    moved = offsets[:, :, 0]
    points = np.stack(
        [x[..., None] + grid_x + moved[..., 1], y[..., None] + grid_y + moved[..., 0]], -1
    )
    return np.stack([x, y], -1), points


def draw(
    crop: np.ndarray, layer: DeformableConv2D, offsets: np.ndarray, count: int, title: str
) -> Image.Image:
    """Draws the taps of count x count output pixels over the enlarged crop."""
    size, map_size = crop.shape[0], offsets.shape[0]
    picture = Image.fromarray(crop).resize((size * ZOOM,) * 2, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    centers, points = positions(layer, offsets)
    # From the layer's map to the crop, then to the center of the enlarged pixel.
    centers, points = ((map_to_input(p, size, map_size) + 0.5) * ZOOM for p in (centers, points))
    for i in np.linspace(0.2, 0.85, count):
        for j in np.linspace(0.2, 0.8, count):
            row, column = int(i * map_size), int(j * map_size)
            center = tuple(centers[row, column])
            for point in points[row, column]:
                pen.line([center, tuple(point)], fill=(255, 220, 0), width=1)
                _dot(pen, point, 4, (220, 30, 30))
            _dot(pen, center, 4, (30, 200, 60))
    pen.rectangle([0, 0, picture.width, 20], fill=(0, 0, 0))
    pen.text((6, 4), title, fill=(255, 255, 255))
    return picture


def _dot(pen: ImageDraw.ImageDraw, center: Any, radius: int, fill: tuple[int, int, int]) -> None:
    x, y = center
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Draws where the taps of a network's deformable convolutions sample a face."
    )
    parser.add_argument("model", help="preset with deformable convolutions, or a preset's folder")
    parser.add_argument("output", help="image to write, such as offsets.png")
    parser.add_argument("--photo", default=PHOTO, help="photo with a face")
    parser.add_argument(
        "--box", type=float, nargs=4, default=FACE, metavar=("X0", "Y0", "X1", "Y1"),
        help="box of the face in pixels of the photo",
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=5, help="drawn output pixels a side")
    args = parser.parse_args()

    model, trained = load(args.model)
    layers = deformable_layers(model)
    if not layers:
        parser.error(f"{args.model} has no deformable convolution that computes its own offsets")
    photo = np.asarray(Image.open(args.photo).convert("RGB"))
    matrix = geometry.crop_matrix(np.array(args.box), model.input_size)
    crop = crop_face(photo, matrix, model.input_size)
    images = crop[None].astype("float32")
    what = "learned offsets"
    if not trained or not any(o.any() for o in record(model, images, layers)):
        what = "RANDOM offsets, nothing learned"
        rng = np.random.default_rng(0)
        # In order, since a layer's input depends on the offsets of earlier layers; twice, first to
        # make its offsets non-zero, then to scale them.
        for index in (i for i in range(len(layers)) for _ in range(2)):
            randomize(layers[index], record(model, images, layers)[index], rng)
    pictures = [
        draw(crop, layer, offsets, args.count, f"{layer.path}: {what}")
        for layer, offsets in zip(layers, record(model, images, layers), strict=True)
    ]
    side, columns = pictures[0].width, min(3, len(pictures))
    sheet = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * side))
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index % columns * side, index // columns * side))
    sheet.save(args.output)
    print(f"{args.output}: {len(pictures)} deformable layers, {what}")


if __name__ == "__main__":
    main()
