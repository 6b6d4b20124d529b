"""MobileFaceNet against the published counts."""

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.models import MobileFaceNet
from keras_facealign.networks import count_macs


def test_the_published_network():
    network = MobileFaceNet()
    assert network.input_shape == (None, 112, 112, 3) and network.output_shape == (None, 128)
    # Chen et al.: 221 million multiply-adds and 0.99 million parameters.
    assert round(count_macs(network) / 1e6) == 221
    norms = [w for w in network.layers if isinstance(w, keras.layers.BatchNormalization)]
    # Folded into the convolutions, batch normalization leaves a bias.
    folded = network.count_params() - 3 * sum(int(norm.gamma.shape[0]) for norm in norms)
    assert folded == 993_344
    assert sum(isinstance(layer, keras.layers.PReLU) for layer in network.layers) == 33
    assert sum(isinstance(layer, keras.layers.Add) for layer in network.layers) == 12
    shapes = {layer.output.shape[1:3] for layer in network.layers if len(layer.output.shape) == 4}
    assert shapes == {(s, s) for s in (112, 56, 28, 14, 7, 1)}
    assert MobileFaceNet(512).output_shape == (None, 512)


def test_small_networks_have_the_same_depth():
    network = MobileFaceNet(16, 32, width=0.125)
    assert len(network.layers) == len(MobileFaceNet().layers)
    output = keras.ops.convert_to_numpy(network(np.zeros((2, 32, 32, 3), "float32")))
    assert output.shape == (2, 16) and np.isfinite(output).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(input_size=100), "multiple of 16"),
        (dict(embedding_size=1.5), "embedding_size is 1.5"),
        (dict(width=0), "width is 0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(FaceAlignError, match=message):
        MobileFaceNet(**arguments)
