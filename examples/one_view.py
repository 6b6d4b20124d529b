"""A network that trains on one augmented view of every face, at half the cost of a pair's step.

The coherent loss, which compares the two views of a pair, is left out. `grow_2d.py` and
`train_3d.py` train so where computing time is what they lack.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_facealign.models import FaceAlignModel, SATFaceAlign
from keras_facealign.objective import AugmentedView


class OneViewSAT(SATFaceAlign):
    """Trains on one augmented view of every face instead of a pair."""

    def draw_view(self, batch: dict[str, Any]) -> AugmentedView:
        """Draws a view of every image, not corrupted yet."""
        augmentation, images = self.augmentation, batch["image"]
        matrix, flip = augmentation.sample_base(keras.ops.shape(images)[0], int(images.shape[1]))
        return augmentation.view(batch, matrix, flip)

    def training_outputs(self, batch: dict[str, Any]) -> dict[str, Any]:
        view = self.draw_view(batch)
        corrupted = self.augmentation.corrupt(view.images)
        heatmaps, _ = self.heatmaps_and_frames(corrupted, training=True)
        heatmap, landmark = self.view_loss(view, heatmaps)
        return {
            "loss": heatmap + self._training.landmark_weight * landmark,
            "heatmap_loss": heatmap,
            "landmark_loss": landmark,
            "landmarks": view.landmarks,
            "predicted": self._decode(keras.ops.stop_gradient(heatmaps[-1]), None, (0.0, 0.0)),
            "visible": view.visible,
        }


def one_view(model: FaceAlignModel) -> OneViewSAT:
    """Returns the network as one that trains on single views."""
    copy = OneViewSAT.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    return copy  # pyright: ignore[reportReturnType]
