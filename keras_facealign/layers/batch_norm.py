"""Batch normalization over the whole batch, on TensorFlow by its fused kernel."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_facealign.ops.replicas import all_sum, replica_count

_FUSED_DTYPES = ("float32", "float16", "bfloat16")
# The smallest epsilon that cuDNN accepts, with a margin for its rounding to float32.
_SMALLEST_EPSILON = 1.001e-5


@keras.saving.register_keras_serializable(package="keras_facealign")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization, computed by one fused kernel on TensorFlow.

    Where several devices share a batch, the statistics in training are those of the whole batch, so
    that the devices' number does not change the result. (Keras synchronizes them on TensorFlow
    alone, and there only where `synchronized` is set.)

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
        if training and self.trainable and mask is None and self._is_shared():
            return self._over_replicas(inputs)
        if mask is not None or not self._fits_kernel(inputs):
            return super().call(inputs, training=training, mask=mask)
        outputs = self._fused(inputs, bool(training and self.trainable))
        return keras.ops.cast(outputs, self.compute_dtype)

    def _is_shared(self) -> bool:
        return replica_count() > 1 and not getattr(self, "renorm", False)

    def _over_replicas(self, inputs: Any) -> Any:
        """Normalizes by the mean and variance of all replicas' inputs."""
        x = ops.cast(inputs, "float32")
        axes = self._reduction_axes
        shape = [1] * len(x.shape)
        shape[self.axis] = -1
        # Sums around a value near the mean: a difference of large squares would be inaccurate.
        middle = ops.stop_gradient(ops.cast(self.moving_mean, "float32"))
        centered = x - ops.reshape(middle, shape)
        count = ops.cast(ops.size(x) / ops.size(middle), "float32")
        local = [ops.sum(centered, axes), ops.sum(ops.square(centered), axes)]
        sums = all_sum(ops.concatenate([*local, ops.reshape(count, (1,))]))
        channels = middle.shape[0]
        shift, square = (sums[i * channels : (i + 1) * channels] / sums[-1] for i in (0, 1))
        mean, variance = middle + shift, ops.maximum(square - ops.square(shift), 0.0)
        self._average(self.moving_mean, mean)
        self._average(self.moving_variance, variance)
        outputs = ops.batch_normalization(
            x,
            mean,
            variance,
            self.axis,
            offset=ops.cast(self.beta, "float32") if self.center else None,
            scale=ops.cast(self.gamma, "float32") if self.scale else None,
            epsilon=self.epsilon,
        )
        return ops.cast(outputs, self.compute_dtype)

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
