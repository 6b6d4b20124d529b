"""Face normalization as a layer, so that a recognition network takes crops and landmarks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_facealign.errors import FaceAlignError, check_integer
from keras_facealign.ops.face_normalization import (
    NORMALIZATION_MODES,
    frontalize,
    normalization_matrix,
)
from keras_facealign.ops.warp import warp_affine


@keras.saving.register_keras_serializable(package="keras_facealign")
class FaceNormalization(keras.layers.Layer):
    """Places faces in the square crops that recognition networks take.

    The result is that of `keras_facealign.recognition.norm_crop`, up to rounding. It is sampled
    bilinearly: for faces more than twice as large as in the result, set `reduction`.

    Args:
        image_size: Side of the result in pixels.
        mode: One of `keras_facealign.ops.NORMALIZATION_MODES`.
        reduction: Side of the squares of input pixels to average first.

    Input shape:
        Images (B, H, W, C), uint8 or float, and landmarks in their pixels, (B, 68, 2) or, for the
        modes `arcface` and `box`, (B, 5, 2).

    Output shape:
        float32 (B, image_size, image_size, C), 0 outside of the images.

    Example:
        >>> from keras_facealign.recognition import ARCFACE_TEMPLATE
        >>> images = np.full((1, 112, 112, 3), 7, "uint8")
        >>> crops = FaceNormalization()([images, ARCFACE_TEMPLATE[None].astype("float32")])
        >>> tuple(crops.shape), float(crops[0, 50, 50, 0])
        ((1, 112, 112, 3), 7.0)
    """

    def __init__(
        self, image_size: int = 112, mode: str = "arcface", reduction: int = 1, **kwargs: Any
    ) -> None:
        # Positions would be wrong by pixels in half precision.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        check_integer("image_size", image_size, 16, 4096)
        check_integer("reduction", reduction, 1, 64)
        if mode not in NORMALIZATION_MODES:
            raise FaceAlignError(
                f"Unknown mode {mode!r}; choose one of: {', '.join(NORMALIZATION_MODES)}."
            )
        self.image_size = image_size
        self.mode = mode
        self.reduction = reduction
        self.built = True

    def call(self, inputs: Any) -> Any:
        images, landmarks = inputs
        self.compute_output_shape([images.shape, landmarks.shape])
        landmarks = ops.cast(landmarks, "float32")
        if self.reduction > 1:
            square = (self.reduction, self.reduction)
            images = ops.average_pool(ops.cast(images, "float32"), square, square)
            landmarks = (landmarks + 0.5) / self.reduction - 0.5
        if self.mode == "frontal3d":
            return frontalize(images, landmarks, self.image_size)
        matrices = normalization_matrix(landmarks, self.image_size, self.mode)
        return warp_affine(images, matrices, (self.image_size, self.image_size))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        images, landmarks = (tuple(shape) for shape in input_shape)
        sizes = (5, 68) if self.mode in ("arcface", "box") else (68,)
        if len(landmarks) != 3 or landmarks[1] not in sizes or landmarks[2] != 2:
            wanted = " or ".join(f"(B, {size}, 2)" for size in sizes)
            raise FaceAlignError(f"Landmarks have shape {landmarks}; {self.mode} needs {wanted}.")
        if len(images) != 4 or None in images[1:]:
            raise FaceAlignError(f"Images have shape {images}; give (B, H, W, C) of known size.")
        return (images[0], self.image_size, self.image_size, images[3])

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        shape = self.compute_output_shape([x.shape for x in inputs])
        return keras.KerasTensor(shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        config = {"image_size": self.image_size, "mode": self.mode, "reduction": self.reduction}
        return {**super().get_config(), **config}
