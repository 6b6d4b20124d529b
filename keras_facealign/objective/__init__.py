"""The training objective: paired views of every face, targets, losses and metrics.

Each example has a crop with a border around the network's frame. A base augmentation A maps the
crop to the first view, I; a second transformation T maps the first view to the second, T . I. The
second view is sampled from the crop through T . A, so that the border fills the corners that T
would otherwise leave black. Each view then gets its own corruptions, such as occlusions and JPEG
artifacts.
"""

from keras_facealign.objective.corruptions import Corruptions
from keras_facealign.objective.paired_augmentation import AugmentedView, PairedAugmentation
from keras_facealign.objective.recipes import COHERENT_TERMS, TRAINING_RECIPES, CoherentTerm
from keras_facealign.objective.transform_range import TransformRange
from keras_facealign.objective.view_pair import Pair

__all__ = [
    "COHERENT_TERMS",
    "TRAINING_RECIPES",
    "AugmentedView",
    "CoherentTerm",
    "Corruptions",
    "Pair",
    "PairedAugmentation",
    "TransformRange",
]
