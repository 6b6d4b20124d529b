"""A network that learns the heatmaps of a more accurate one beside the labels.

The teacher sees each view before it is corrupted, the student after (a noisy student: Xie et al.,
Self-training with Noisy Student improves ImageNet classification, CVPR 2020); the teacher's
probabilities are its targets (Hinton et al., Distilling the Knowledge in a Neural Network, 2015).
They say where else a landmark might be, and cover landmarks without labels. `ingredients.py`
measures what this gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras import ops
from one_view import OneViewSAT

from keras_facealign.errors import FaceAlignError
from keras_facealign.models import FaceAlignModel
from keras_facealign.objective import AugmentedView
from keras_facealign.objective.losses import heatmap_mean, sigmoid_crossentropy


@dataclass
class TaughtView(AugmentedView):
    """A view with the teacher's heatmaps: probabilities, float32 (B, H, W, K)."""

    taught: Any = None


class StudentSAT(OneViewSAT):
    """Trains on labels and on the heatmaps of a teacher, see `student`."""

    teach: Any = None
    share = 0.5

    def draw_view(self, batch: dict[str, Any]) -> TaughtView:
        view = super().draw_view(batch)
        return TaughtView(**vars(view), taught=self.teach(view.images))

    def view_loss(self, view: AugmentedView, heatmaps: list[Any]) -> tuple[Any, Any]:
        heatmap, landmark = super().view_loss(view, heatmaps)
        if not isinstance(view, TaughtView):  # validation
            return heatmap, landmark
        weight = 1.0 + self._training.foreground_weight * view.taught
        everything = ops.ones((1, 1, 1, 1))
        taught = sum(
            heatmap_mean(sigmoid_crossentropy(view.taught, maps) * weight, everything)
            for maps in heatmaps
        )
        return (1 - self.share) * heatmap + self.share * taught, landmark


def student(model: FaceAlignModel, teacher: FaceAlignModel, share: float = 0.5) -> StudentSAT:
    """Returns a network as one that also learns from another.

    Args:
        model: The network to train, of the SAT family.
        teacher: A network with the same landmarks and sizes of image and heatmaps. It stays as
            it is.
        share: Weight of the teacher's heatmaps in the heatmap loss, 0 to 1; labels have the rest.

    Raises:
        FaceAlignError: If the sizes differ.
    """
    ours, theirs = model.architecture, teacher.architecture
    for name in ("num_landmarks", "input_size", "map_size"):
        if getattr(ours, name) != getattr(theirs, name):
            raise FaceAlignError(
                f"{name} is {getattr(theirs, name)} in the teacher and {getattr(ours, name)} in "
                "the network to train; choose a teacher of the same sizes."
            )
    copy = StudentSAT.from_config(model.get_config())
    copy.set_weights(model.get_weights())

    def teach(images: Any) -> Any:
        maps = teacher.heatmaps_and_frames(images, training=False)[0][-1]
        return ops.stop_gradient(ops.sigmoid(ops.cast(maps, "float32")))

    # As a function, since Keras would count the weights of a model among the student's own.
    copy.teach, copy.share = teach, share
    return copy  # pyright: ignore[reportReturnType]
