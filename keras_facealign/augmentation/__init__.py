"""The augmentation that training draws on the device: two views of every face.

Each example brings a crop with a border around the network's frame. A base augmentation A maps the
crop to the first view, I; a second transformation T maps the first view to the second, T . I. The
second view is sampled from the crop through T . A, so that what the border holds fills the corners
that T would otherwise leave black. What spoils the pictures themselves, from an occlusion to the
blocks of a JPEG, each view draws for itself.

`paired` has the layer that does it, `ranges` what A and T may do, `disturbances` what becomes of
the pictures, and `effects` the arithmetic of that.
"""

from __future__ import annotations

from keras_facealign.augmentation.disturbances import Disturbances
from keras_facealign.augmentation.paired import PairedAugmentation, View
from keras_facealign.augmentation.ranges import TransformRange

__all__ = ["Disturbances", "PairedAugmentation", "TransformRange", "View"]
