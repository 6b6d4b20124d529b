"""Deformable convolution layer."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.ops.deform_conv import (
    BORDERS,
    IMPLEMENTATIONS,
    check_choice,
    deform_conv2d,
    deform_conv2d_output_size,
    padding_argument,
    pair,
)

# Arguments that a configuration holds as they are, and those that are serialized, by their kind.
_PLAIN = (
    *("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups"),
    *("deformable_groups", "modulated", "border", "implementation", "use_bias"),
)
_OBJECTS = {
    "initializer": ("kernel", "bias", "offset"),
    "regularizer": ("kernel", "bias", "activity"),
    "constraint": ("kernel", "bias"),
}


@keras.saving.register_keras_serializable(package="keras_facealign")
class DeformableConv2D(keras.layers.Layer):
    """Convolution with learned offsets of its taps (Dai et al. 2017; Zhu et al. 2018 with a mask).

    Called with an image tensor it computes its offsets (and, modulated, its mask) by an ordinary
    convolution of the same kernel size, strides, padding and dilation: the sub-layer `offset`,
    initialized with zeros, so that training starts from an ordinary convolution. Called with a list
    `[inputs, offsets]` or `[inputs, offsets, mask]` it uses these and has no such sub-layer. For
    the order of offsets see `keras_facealign.ops.deform_conv2d`.

    Args:
        filters: Output channels.
        kernel_size: Taps, one number or (vertical, horizontal), like all sizes that follow.
        strides: Input pixels from one output pixel to the next.
        padding: "same" or "valid" as in Keras, or pixels on either side.
        dilation_rate: Input pixels from one tap to the next.
        groups: Parts that channels and filters are split into, each convolved separately.
        deformable_groups: Parts that channels are split into, each displaced separately.
        modulated: Whether samples are multiplied by a mask (DCNv2). The layer's own mask is the
            sigmoid of further channels of the offset convolution, initially 0.5, as in the paper.
        border: "zeros" (torchvision's rule) or "mxnet".
        implementation: "auto", "portable" or "native", see `keras_facealign.ops.deform_conv2d`.
        activation: Activation after the bias, or None.
        use_bias: Whether a bias is added.
        kernel_initializer: Initializer of the kernel.
        bias_initializer: Initializer of the bias.
        offset_initializer: Initializer of the offset convolution's kernel.
        kernel_regularizer: Regularizer of the kernel.
        bias_regularizer: Regularizer of the bias.
        activity_regularizer: Regularizer of the output.
        kernel_constraint: Constraint on the kernel.
        bias_constraint: Constraint on the bias.

    Input shape:
        (B, H, W, C), or a list of that, offsets (B, Ho, Wo, deformable_groups * kh * kw * 2) in
        pixels, and where the layer is modulated a mask (B, Ho, Wo, deformable_groups * kh * kw).

    Output shape:
        (B, Ho, Wo, filters).

    Raises:
        FaceAlignError: If arguments or shapes do not fit together.

    Example:
        >>> layer = DeformableConv2D(8, 3, modulated=True)
        >>> tuple(layer(keras.ops.ones((2, 16, 16, 4))).shape)
        (2, 16, 16, 8)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = "same",
        dilation_rate: int | tuple[int, int] = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        modulated: bool = False,
        border: str = "zeros",
        implementation: str = "auto",
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        offset_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        pair("filters and groups", (filters, groups))
        pair("filters and deformable_groups", (filters, deformable_groups))
        if filters % groups:
            raise FaceAlignError(
                f"{self.name}: {filters} filters cannot be split into {groups} groups."
            )
        check_choice("border", border, BORDERS)
        check_choice("implementation", implementation, IMPLEMENTATIONS)
        self.filters = filters
        self.kernel_size = pair("kernel_size", kernel_size)
        self.strides = pair("strides", strides)
        self.padding = padding_argument(padding)
        self.dilation_rate = pair("dilation_rate", dilation_rate)
        self.groups = groups
        self.deformable_groups = deformable_groups
        self.modulated = modulated
        self.border = border
        self.implementation = implementation
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.offset_initializer = keras.initializers.get(offset_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)

    @property
    def samples(self) -> int:
        """Samples per output pixel: taps times deformable groups."""
        return self.deformable_groups * self.kernel_size[0] * self.kernel_size[1]

    def build(self, input_shape: Any) -> None:
        shape, given = self._split(input_shape)
        channels = shape[-1]
        if channels is None or channels % self.groups or channels % self.deformable_groups:
            raise FaceAlignError(
                f"{self.name}: {channels} input channels cannot be split into {self.groups} "
                f"groups and {self.deformable_groups} deformable groups."
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, channels // self.groups, self.filters),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.offset: Any = None
        if not given:
            if max(self.strides) > 1 and max(self.dilation_rate) > 1:
                raise FaceAlignError(
                    f"{self.name}: its own offsets come from a Keras convolution, which has either "
                    f"strides or dilation, got {self.strides} and {self.dilation_rate}; call it "
                    "with [inputs, offsets]."
                )
            # Padding in pixels is added in `compute_offsets`, since Keras's convolution has none.
            self.offset = keras.layers.Conv2D(
                self.samples * (3 if self.modulated else 2),
                self.kernel_size,
                strides=self.strides,
                padding=self.padding if isinstance(self.padding, str) else "valid",
                dilation_rate=self.dilation_rate,
                kernel_initializer=self.offset_initializer,
                name="offset",
                dtype=self.dtype_policy,
            )
            self.offset.build(self._padded(shape))
        self.built = True

    def call(self, inputs: Any) -> Any:
        inputs, given = self._split(inputs)
        offsets, mask = (*given, None, None)[:2] if given else self.compute_offsets(inputs)
        result = deform_conv2d(
            inputs,
            offsets,
            self.kernel,
            mask,
            self.bias,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            groups=self.groups,
            deformable_groups=self.deformable_groups,
            border=self.border,
            implementation=self.implementation,
        )
        return self.activation(result)

    def compute_offsets(self, inputs: Any) -> tuple[Any, Any]:
        """Computes the layer's own offsets and mask.

        Args:
            inputs: (B, H, W, C).

        Returns:
            (B, Ho, Wo, deformable_groups * kh * kw * 2) in pixels of the inputs, and where the
            layer is modulated (B, Ho, Wo, deformable_groups * kh * kw), 0 to 1, else None.
        """
        if not isinstance(self.padding, str):
            (vertical, horizontal) = self.padding
            inputs = ops.pad(inputs, ((0, 0), (vertical,) * 2, (horizontal,) * 2, (0, 0)))
        maps = self.offset(inputs)
        if not self.modulated:
            return maps, None
        count = 2 * self.samples
        return maps[..., :count], ops.sigmoid(maps[..., count:])

    def _padded(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the offset convolution's input."""
        if isinstance(self.padding, str):
            return tuple(shape)
        sizes = (
            None if n is None else n + 2 * p for n, p in zip(shape[1:3], self.padding, strict=True)
        )
        return (shape[0], *sizes, shape[3])

    def _split(self, inputs: Any) -> tuple[Any, tuple[Any, ...]]:
        """Separates inputs from given offsets and mask; works for tensors and for shapes."""
        first = inputs[0] if isinstance(inputs, (list, tuple)) else None
        if not isinstance(first, (list, tuple)) and not hasattr(first, "shape"):
            return inputs, ()
        expected = 3 if self.modulated else 2
        if len(inputs) != expected:
            raise FaceAlignError(
                f"{self.name} accepts one tensor, or {expected} with offsets"
                f"{' and mask' if self.modulated else ''}; got a list of {len(inputs)}."
            )
        return inputs[0], tuple(inputs[1:])

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        shape, _ = self._split(input_shape)
        size = deform_conv2d_output_size(
            shape[1:3], self.kernel_size, self.strides, self.padding, self.dilation_rate
        )
        return (shape[0], *size, self.filters)

    def get_config(self) -> dict[str, Any]:
        config = {name: getattr(self, name) for name in _PLAIN}
        config["activation"] = keras.activations.serialize(self.activation)
        for kind, names in _OBJECTS.items():
            serialize = getattr(keras, f"{kind}s").serialize
            config |= {f"{n}_{kind}": serialize(getattr(self, f"{n}_{kind}")) for n in names}
        return {**super().get_config(), **config}
