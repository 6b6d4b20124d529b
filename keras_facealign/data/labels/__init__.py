"""Labels of one's own: what labeling tools and other libraries write, with any landmarks.

`load` guesses the format and says what it guessed. One module reads each format into `RawLabels`;
`assembling` looks for the pictures and leaves out what does not fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_facealign._lazy import attach

if TYPE_CHECKING:
    from keras_facealign.data.labels.guess import guess_kind
    from keras_facealign.data.labels.label_set import FaceLabels, LabelSet
    from keras_facealign.data.labels.loading import KINDS, load

__all__ = ["KINDS", "FaceLabels", "LabelSet", "guess_kind", "load"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "guess": ("guess_kind",),
        "label_set": ("FaceLabels", "LabelSet"),
        "loading": ("KINDS", "load"),
    },
)
