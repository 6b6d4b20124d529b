"""Heatmap networks: their architecture, the stacked Keras graph, its cost, and its plain graph."""

from keras_facealign.networks.architecture import Architecture
from keras_facealign.networks.complexity import count_macs
from keras_facealign.networks.stacked import Network, build_network

__all__ = ["Architecture", "Network", "build_network", "count_macs"]
