"""The blocks once more, in plain NumPy and double precision, as the original code states them."""

import keras
import numpy as np


def randomize(layer, seed=0):
    """Gives a layer weights with nothing neutral about them, batch norm's statistics included."""
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        shape, kind = tuple(variable.shape), variable.path.rsplit("/", 1)[-1]
        value = {
            "kernel": lambda s: rng.normal(0, 1 / np.sqrt(np.prod(s[:-1])), s),
            "bias": lambda s: rng.normal(0, 0.5, s),
            "gamma": lambda s: rng.uniform(0.5, 1.5, s),
            "beta": lambda s: rng.normal(0, 0.5, s),
            "moving_mean": lambda s: rng.normal(0, 0.5, s),
            "moving_variance": lambda s: rng.uniform(0.3, 2, s),
        }[kind](shape)
        variable.assign(value.astype(np.float32))


def weights(layer):
    """By path below the layer, for example "conv1/kernel"."""
    return {
        v.path.split("/", 1)[1]: keras.ops.convert_to_numpy(v.value).astype(np.float64)
        for v in layer.weights
    }


def conv(x, kernel):
    """A "same" convolution of odd kernel: a sum over its taps."""
    reach = kernel.shape[0] // 2
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    height, width = x.shape[1:3]
    result = 0.0
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            result = result + padded[:, i : i + height, j : j + width] @ kernel[i, j]
    return result


def depthwise_conv(x, kernel):
    """Each channel on its own: a dense kernel that is diagonal."""
    dense = np.zeros((*kernel.shape[:2], x.shape[-1], x.shape[-1]))
    for c in range(x.shape[-1]):
        dense[:, :, c, c] = kernel[:, :, c, 0]
    return conv(x, dense)


def batch_norm(x, w, name):
    mean, variance = w[f"{name}/moving_mean"], w[f"{name}/moving_variance"]
    return (x - mean) / np.sqrt(variance + 2e-5) * w[f"{name}/gamma"] + w[f"{name}/beta"]


def relu(x):
    return np.maximum(x, 0)


def resnet(x, w):
    active = relu(batch_norm(x, w, "bn1"))
    y = conv(active, w["conv1/kernel"])
    y = conv(relu(batch_norm(y, w, "bn2")), w["conv2/kernel"])
    y = conv(relu(batch_norm(y, w, "bn3")), w["conv3/kernel"])
    return y + (conv(active, w["sc/kernel"]) if "sc/kernel" in w else x)


def hpm(x, w):
    active = relu(batch_norm(x, w, "bn1"))
    c1 = conv(active, w["conv1/kernel"])
    c2 = conv(relu(batch_norm(c1, w, "bn2")), w["conv2/kernel"])
    c3 = conv(relu(batch_norm(c2, w, "bn3")), w["conv3/kernel"])
    shortcut = conv(active, w["sc/kernel"]) if "sc/kernel" in w else x
    return np.concatenate([c1, c2, c3], -1) + shortcut


def inception(x, w):
    def unit(y, name):
        return batch_norm(conv(y, w[f"block35_{name}/conv/kernel"]), w, f"block35_{name}/bn")

    def chain(*names):
        y = x
        for name in names:
            y = relu(unit(y, name))
        return y

    joined = np.concatenate(
        [chain("conv"), chain("conv1_0", "conv1_1"), chain("conv2_0", "conv2_1", "conv2_2")], -1
    )
    return relu(x + unit(joined, "conv_out"))


def cab(x, w):
    """Node by node from the output backwards, where the layer goes row by row forwards."""

    def unit(y, name, convolve):
        return relu(batch_norm(convolve(y, w[f"{name}/conv/kernel"]), w, f"{name}/bn"))

    def node(column, row):
        if (column, row) == (4, 4):
            return x
        if row == 4:
            return unit(node(column + 1, 4), f"w{column}_h4_1", conv)
        right = node(column + 1, row + 1)
        if (column, row) in ((2, 3), (1, 3)):
            right = unit(right, f"w{column}_h{row}_2", depthwise_conv)
        left = node(column, row + 1)
        return (right + np.concatenate([left, left], -1)) / 2

    return node(1, 1)
