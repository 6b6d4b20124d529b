"""The last layer of face recognition networks in training: cosines to class centers, with a margin.

Sources: Deng et al., ArcFace, CVPR 2019; Wang et al., CosFace, CVPR 2018.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_facealign.errors import FaceAlignError, check_integer

# Where a vector has no direction, and an angle no slope, in float32.
_TINY_LENGTH, _TINY_SINE = 1e-12, 1e-7


class _AngularMargin(keras.layers.Layer):
    """Common part of the layers: `_with_margin` changes the cosine to a face's own class."""

    def __init__(
        self, num_classes: int, scale: float = 64.0, margin: float = 0.5, **kwargs: Any
    ) -> None:
        # Half precision has steps of a degree in the cosine, and its exponentials overflow.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        check_integer("num_classes", num_classes, 2)
        if not 0 < scale < math.inf:
            raise FaceAlignError(f"scale is {scale}; it must be positive.")
        if not 0 <= margin < 1.5:
            raise FaceAlignError(f"margin is {margin}; give 0 to 1.5.")
        self.num_classes = num_classes
        self.scale = scale
        self.margin = margin

    def build(self, input_shape: Any) -> None:
        shape = input_shape[0] if isinstance(input_shape[0], (list, tuple)) else input_shape
        self.kernel = self.add_weight(
            shape=(shape[-1], self.num_classes), initializer="glorot_normal", name="kernel"
        )
        self.built = True

    def call(self, inputs: Any) -> Any:
        embeddings, labels = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)
        cosine = ops.matmul(_unit(embeddings, -1), _unit(self.kernel, 0))
        cosine = ops.clip(cosine, -1.0, 1.0)
        if labels is not None:
            own = ops.one_hot(ops.reshape(labels, (-1,)), self.num_classes, dtype=cosine.dtype)
            cosine = cosine + own * (self._with_margin(cosine) - cosine)
        return self.scale * cosine

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        shape = input_shape[0] if isinstance(input_shape[0], (list, tuple)) else input_shape
        return (shape[0], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        config = {"num_classes": self.num_classes, "scale": self.scale, "margin": self.margin}
        return {**super().get_config(), **config}

    def _with_margin(self, cosine: Any) -> Any:
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="keras_facealign")
class ArcFace(_AngularMargin):
    """Scaled cosines between embeddings and class centers; a face's own angle grows by a margin.

    Train it with cross-entropy on logits. It computes in float32 under every dtype policy, and its
    gradient is finite for every input.

    Args:
        num_classes: Number of persons.
        scale: Factor of the cosines (s).
        margin: Radians added to the angle to the own class (m). Beyond pi - m, where the cosine
            would rise again, m sin(m) is subtracted from the cosine instead.

    Input shape:
        Embeddings (B, D) of any length, and int labels, (B,) or (B, 1); or embeddings alone, for
        logits without margin.

    Output shape:
        float32 (B, num_classes), logits.

    Example:
        >>> layer = ArcFace(2, scale=1.0, margin=0.5)
        >>> layer.build((None, 2))
        >>> layer.set_weights([np.eye(2)])
        >>> layer([np.array([[3.0, 0.0]]), np.array([0])]).numpy().round(2)  # cos 0.5, cos 90°
        array([[0.88, 0.  ]], dtype=float32)
    """

    def _with_margin(self, cosine: Any) -> Any:
        sine = ops.sqrt(ops.maximum(1.0 - cosine * cosine, _TINY_SINE))
        turned = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        beyond = cosine - self.margin * math.sin(self.margin)
        return ops.where(cosine > -math.cos(self.margin), turned, beyond)


@keras.saving.register_keras_serializable(package="keras_facealign")
class CosFace(_AngularMargin):
    """Scaled cosines between embeddings and class centers; a face's own is less by a margin.

    Args:
        num_classes: Number of persons.
        scale: Factor of the cosines (s).
        margin: Subtracted from the cosine to the own class (m).

    Input shape:
        As of `ArcFace`.

    Output shape:
        float32 (B, num_classes), logits.
    """

    def __init__(
        self, num_classes: int, scale: float = 64.0, margin: float = 0.35, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, scale, margin, **kwargs)

    def _with_margin(self, cosine: Any) -> Any:
        return cosine - self.margin


def _unit(vectors: Any, axis: int) -> Any:
    square = ops.sum(vectors * vectors, axis=axis, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(square, _TINY_LENGTH))
