"""Batch normalization through TensorFlow's fused kernel, with Keras's weights and results."""

from __future__ import annotations

from typing import Any

import keras

_FUSED_DTYPES = ("float32", "float16", "bfloat16")
# The smallest epsilon that cuDNN accepts, with a margin for its rounding to float32.
_SMALLEST_EPSILON = 1.001e-5


@keras.saving.register_keras_serializable(package="keras_facealign")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization, computed by one fused kernel on TensorFlow.

    Keras composes the layer of moments and element-wise operations, each of which reads the whole
    tensor, in float32 whatever the compute dtype. The fused kernel reads it fewer times, forward
    and backward. Weights, their names, configuration and results equal those of Keras's layer.

    The kernel takes (B, H, W, C) in float32, float16 or bfloat16 on the TensorFlow backend and
    keeps its statistics in float32. Everything else is computed by Keras's own code: other
    backends, ranks and axes, masks, renormalization, synchronized statistics and symbolic tensors.

    Args:
        *args: As for `keras.layers.BatchNormalization`.
        **kwargs: As for `keras.layers.BatchNormalization`.

    Example:
        >>> BatchNormalization()(keras.ops.zeros((1, 8, 8, 4))).shape
        (1, 8, 8, 4)
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalizes a batch.

        Args:
            inputs: float (B, ..., C).
            training: Whether to use the batch's statistics and to update the moving ones.
            mask: bool, of the shape of `inputs` without its last axis, or None.

        Returns:
            A tensor of the shape of `inputs`, in the layer's compute dtype.
        """
        if mask is not None or not self._fits_kernel(inputs):
            return super().call(inputs, training=training, mask=mask)
        outputs = self._fused(inputs, bool(training and self.trainable))
        return keras.ops.cast(outputs, self.compute_dtype)

    def _fits_kernel(self, inputs: Any) -> bool:
        """Whether the fused kernel supports the layer's settings and inputs."""
        if keras.backend.backend() != "tensorflow" or isinstance(inputs, keras.KerasTensor):
            return False
        plain = not (self.synchronized or getattr(self, "renorm", False))
        return (
            plain
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.epsilon >= _SMALLEST_EPSILON
            and keras.backend.standardize_dtype(inputs.dtype) in _FUSED_DTYPES
            and keras.backend.standardize_dtype(self.variable_dtype) == "float32"
        )

    def _fused(self, inputs: Any, training: bool) -> Any:
        import tensorflow as tf

        inputs = tf.convert_to_tensor(inputs)
        channels = self.moving_mean.shape
        gamma = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(channels)
        beta = tf.convert_to_tensor(self.beta) if self.center else tf.zeros(channels)
        empty = tf.zeros((0,), "float32")
        result = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=gamma,
            offset=beta,
            mean=empty if training else tf.convert_to_tensor(self.moving_mean),
            variance=empty if training else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            # The kernel returns the unbiased estimate of the variance, and Keras averages the
            # biased one.
            count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), "float32")
            self._average(self.moving_mean, result.batch_mean)
            self._average(self.moving_variance, result.batch_variance * ((count - 1.0) / count))
        return result.y

    def _average(self, moving: Any, value: Any) -> None:
        moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
