"""Heatmaps: drawing landmarks into them and reading landmarks back out.

Landmarks travel in pixels of the network's *input*; a map of side `S` covers the same square as an
input of side `s`, so an input coordinate x is at (x + 0.5) * S / s - 0.5 in the map.

Decoding methods:
    * `argmax`: the center of the highest map pixel.
    * `upsample`: bilinear resize of the map to the input's size, then the highest pixel. This is
      the integer grid of the original MXNet code.
    * `taylor`: the highest pixel plus one Newton step on the smoothed log-probability (Zhang et
      al., Distribution-Aware Coordinate Representation for Human Pose Estimation, CVPR 2020).
    * `soft_argmax`: the center of mass of the probability in a window around the highest pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry.affine import array_namespace

DECODE_METHODS = ("taylor", "soft_argmax", "argmax", "upsample")

# Radius in map pixels of the window that sub-pixel decoding looks at.
WINDOW_RADIUS = 3


def input_to_map(points: Any, input_size: int, map_size: int) -> Any:
    """Input pixels to map pixels, for points of any shape (..., 2)."""
    return (points + 0.5) * (map_size / input_size) - 0.5


def map_to_input(points: Any, input_size: int, map_size: int) -> Any:
    """Map pixels to input pixels, for points of any shape (..., 2)."""
    return (points + 0.5) * (input_size / map_size) - 0.5


def draw_heatmaps(landmarks: Any, map_size: int, sigma: float = 1.5) -> Any:
    """Draws one Gaussian a landmark, centerd at its sub-pixel position.

    Args:
        landmarks: float (B, K, 2) in map pixels, x before y. Points far outside give empty maps.
        map_size: Side of the square maps in pixels.
        sigma: Standard deviation in map pixels; the peak value is 1 at the exact center.

    Returns:
        float32 (B, map_size, map_size, K).

    Raises:
        FaceAlignError: If `sigma` is not positive.
    """
    if sigma <= 0:
        raise FaceAlignError(f"sigma is {sigma}; a Gaussian needs a positive one, such as 1.5.")
    from keras import ops

    landmarks = ops.cast(landmarks, "float32")
    grid = ops.reshape(ops.arange(map_size, dtype="float32"), (1, map_size, 1))
    x = ops.exp(-ops.square(grid - landmarks[:, None, :, 0]) / (2.0 * sigma**2))
    y = ops.exp(-ops.square(grid - landmarks[:, None, :, 1]) / (2.0 * sigma**2))
    return ops.expand_dims(y, 2) * ops.expand_dims(x, 1)


def _cast(x: Any, dtype: str) -> Any:
    return (
        x.astype(dtype, copy=False)
        if isinstance(x, np.ndarray)
        else array_namespace(x).cast(x, dtype)
    )


def _sigmoid(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return 1.0 / (1.0 + np.exp(-np.maximum(x, -80.0)))  # exp(80) is a float32 still
    return array_namespace(x).sigmoid(x)


def _argmax(values: Any, axis: int) -> Any:
    """Index of the first highest value along an axis, int32.

    For floats, Keras on TensorFlow tells -0 from 0 by their bits, for which TFLite has no operator.
    """
    if not isinstance(values, np.ndarray):
        import keras

        if keras.backend.backend() == "tensorflow" and not isinstance(values, keras.KerasTensor):
            import tensorflow as tf

            return tf.argmax(values, axis=axis, output_type="int32")
    return _cast(array_namespace(values).argmax(values, axis=axis), "int32")


def _peak(heatmaps: Any) -> tuple[Any, Any]:
    """Row and column, each int32 (B, K), of the first highest pixel in row-major order.

    The first row that reaches the highest value, then the first column in it: the same pixel as the
    `argmax` of the flattened map, which takes TFLite seven times as long, as it walks through all
    pixels in steps of K.
    """
    xp = array_namespace(heatmaps)
    row = _argmax(xp.max(heatmaps, axis=2), axis=1)
    columns = np.arange(int(heatmaps.shape[2]), dtype="int32").reshape(1, 1, -1)
    values = _take_pixels(heatmaps, xp.expand_dims(row, -1), columns)
    return row, _argmax(values, axis=2)


def _take_pixels(heatmaps: Any, rows: Any, columns: Any) -> Any:
    """Values at (B, K, N) rows and columns of every map, replicating the border."""
    xp = array_namespace(heatmaps)
    height, width, k = (int(n) for n in heatmaps.shape[1:])
    rows = xp.clip(rows, 0, height - 1)
    columns = xp.clip(columns, 0, width - 1)
    channel = np.arange(k, dtype="int32").reshape(1, k, 1)
    if xp is np:
        batch = np.arange(len(heatmaps)).reshape(-1, 1, 1)
        return heatmaps[batch, rows, columns, channel]
    batch = xp.reshape(xp.arange(xp.shape(heatmaps)[0], dtype="int32"), (-1, 1, 1))
    index = ((batch * height + rows) * width + columns) * k + xp.convert_to_tensor(channel)
    return xp.take(xp.reshape(heatmaps, (-1,)), index, axis=0)


def _window(heatmaps: Any, rows: Any, columns: Any, radius: int) -> tuple[Any, Any, Any]:
    """Values, row and column indices, each (B, K, N), of a square window around (B, K) pixels."""
    xp = array_namespace(heatmaps)
    offsets = np.arange(-radius, radius + 1, dtype="int32")
    dy, dx = (v.reshape(1, 1, -1) for v in np.meshgrid(offsets, offsets, indexing="ij"))
    rows = xp.add(xp.expand_dims(rows, -1), dy)
    columns = xp.add(xp.expand_dims(columns, -1), dx)
    return _take_pixels(heatmaps, rows, columns), rows, columns


def local_soft_argmax(heatmaps: Any, radius: int = WINDOW_RADIUS) -> Any:
    """Computes the center of mass of the probability in a window around the highest pixel.

    Differentiable with respect to the values in the window, so it can also serve in a loss.

    Args:
        heatmaps: float (B, H, W, K), logits; a NumPy array or a tensor.
        radius: Radius of the square window in pixels. Pixels outside the map do not count.

    Returns:
        float32 (B, K, 2) in map pixels, x before y.
    """
    xp = array_namespace(heatmaps)
    height, width = (int(n) for n in heatmaps.shape[1:3])
    heatmaps = _cast(heatmaps, "float32")
    row, column = _peak(heatmaps)
    values, rows, columns = _window(heatmaps, row, column, radius)
    inside = xp.logical_and(
        xp.logical_and(rows >= 0, rows < height), xp.logical_and(columns >= 0, columns < width)
    )
    mass = _sigmoid(values) * _cast(inside, "float32") + 1e-12
    total = xp.sum(mass, axis=-1)
    x = xp.sum(mass * _cast(columns, "float32"), axis=-1) / total
    y = xp.sum(mass * _cast(rows, "float32"), axis=-1) / total
    return xp.stack([x, y], axis=-1)


def _taylor(heatmaps: Any) -> Any:
    """Highest pixel plus one Newton step on the smoothed log-probability, at most a pixel away.

    At the border the derivatives are taken at the nearest pixel whose window lies inside the map:
    a Gaussian's logarithm is a parabola, so that a step from there ends in the same place.
    """
    xp = array_namespace(heatmaps)
    height, width = (int(n) for n in heatmaps.shape[1:3])
    row, column = _peak(heatmaps)
    peak = _cast(xp.stack([column, row], axis=-1), "float32")
    row = xp.clip(row, 2, max(height - 3, 2))
    column = xp.clip(column, 2, max(width - 3, 2))
    values, _, _ = _window(heatmaps, row, column, 2)
    batch, k = xp.shape(values)[0], int(values.shape[1])
    window = xp.reshape(_sigmoid(values), (batch, k, 5, 5))
    # Binomial 3x3 smoothing of the 5x5 window leaves the 3x3 that the derivatives need.
    rows = window[:, :, :-2] + 2.0 * window[:, :, 1:-1] + window[:, :, 2:]
    smooth = (rows[..., :-2] + 2.0 * rows[..., 1:-1] + rows[..., 2:]) / 16.0
    p = xp.log(xp.maximum(smooth, 1e-10))
    dx = 0.5 * (p[:, :, 1, 2] - p[:, :, 1, 0])
    dy = 0.5 * (p[:, :, 2, 1] - p[:, :, 0, 1])
    dxx = p[:, :, 1, 2] - 2.0 * p[:, :, 1, 1] + p[:, :, 1, 0]
    dyy = p[:, :, 2, 1] - 2.0 * p[:, :, 1, 1] + p[:, :, 0, 1]
    dxy = 0.25 * (p[:, :, 2, 2] - p[:, :, 2, 0] - p[:, :, 0, 2] + p[:, :, 0, 0])
    det = dxx * dyy - dxy * dxy
    # Only a maximum has a negative definite Hessian; elsewhere the step would be meaningless.
    good = xp.logical_and(det > 1e-12, dxx < 0)
    safe = xp.where(good, det, 1.0)
    step_x = -(dyy * dx - dxy * dy) / safe
    step_y = -(dxx * dy - dxy * dx) / safe
    center = _cast(xp.stack([column, row], axis=-1), "float32")
    step = center + xp.stack([step_x, step_y], axis=-1) - peak
    return peak + xp.where(xp.expand_dims(good, -1), xp.clip(step, -1.0, 1.0), 0.0)


def _resize(heatmaps: Any, size: int) -> Any:
    """Resizes maps bilinearly, with half-pixel centers, to (B, size, size, K)."""
    if not isinstance(heatmaps, np.ndarray):
        resize = array_namespace(heatmaps).image.resize
        return resize(heatmaps, (size, size), interpolation="bilinear", data_format="channels_last")
    source = heatmaps.shape[1]
    position = np.clip((np.arange(size) + 0.5) * (source / size) - 0.5, 0, source - 1)
    # The weight of each source pixel falls linearly to zero at a distance of one pixel.
    weights = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(source))).astype(np.float32)
    return np.einsum("yh,bhwk,xw->byxk", weights, heatmaps, weights, optimize=True)


def decode_heatmaps(heatmaps: Any, input_size: int, method: str = "taylor") -> tuple[Any, Any]:
    """Decodes landmarks and confidence from raw heatmaps.

    Args:
        heatmaps: float (B, H, W, K), logits of a network, H == W: a tensor of Keras's backend, or a
            NumPy array, for which Keras is not needed.
        input_size: Side of the network's input in pixels.
        method: One of `DECODE_METHODS`.

    Returns:
        A tuple of landmarks, float32 (B, K, 2) in input pixels, x before y, and confidence, float32
        (B, K) between 0 and 1: the sigmoid of each map's highest value. Both are of the kind that
        the heatmaps are.

    Raises:
        FaceAlignError: If `method` is unknown.

    Example:
        >>> heatmaps = np.full((1, 8, 8, 1), -5.0, "float32")
        >>> heatmaps[0, 2, 4] = 5.0  # row 2, column 4
        >>> landmarks, confidence = decode_heatmaps(heatmaps, input_size=32)
        >>> landmarks.round(2).tolist(), confidence.round(3)
        ([[[17.5, 9.5]]], array([[0.993]], dtype=float32))
    """
    if method not in DECODE_METHODS:
        raise FaceAlignError(
            f"Unknown decoding method {method!r}; choose one of: {', '.join(DECODE_METHODS)}."
        )
    xp = array_namespace(heatmaps)
    heatmaps = _cast(heatmaps, "float32")
    map_size = int(heatmaps.shape[1])
    confidence = _sigmoid(xp.max(heatmaps, axis=(1, 2)))
    if method == "taylor":
        points = _taylor(heatmaps)
    elif method == "soft_argmax":
        points = local_soft_argmax(heatmaps)
    else:
        row, column = _peak(_resize(heatmaps, input_size) if method == "upsample" else heatmaps)
        points = _cast(xp.stack([column, row], axis=-1), "float32")
        if method == "upsample":
            return points, confidence
    return map_to_input(points, input_size, map_size), confidence
