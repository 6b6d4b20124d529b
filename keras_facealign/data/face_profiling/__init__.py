"""Face profiling: fits a head model to a face's landmarks and renders the face at larger yaws.

Training for large poses needs faces seen from the side, with landmarks of the whole head, hidden
ones included. Few photographs have them, so they are synthesized: `HeadFitter` fits a head to 68
landmarks, `turned_views` renders the image with the head turned, and `load_samples` reads what the
command `synthesize-poses` wrote.

After Zhu et al., Face Alignment Across Large Poses: A 3D Solution, CVPR 2016.
"""

from keras_facealign._deprecated import deprecated_names
from keras_facealign.data.face_profiling.camera import Camera
from keras_facealign.data.face_profiling.fitting import FitSettings, HeadFit, HeadFitter
from keras_facealign.data.face_profiling.kit import pack_kit
from keras_facealign.data.face_profiling.model import MorphableModel, load_head_model
from keras_facealign.data.face_profiling.rendering import TurnableFace, visible_landmarks
from keras_facealign.data.face_profiling.snapping import snapped_vertices
from keras_facealign.data.face_profiling.storage import (
    is_written,
    load_samples,
    open_output,
    read_labels,
    survey,
    write_views,
)
from keras_facealign.data.face_profiling.synthesis import (
    LABELS_VERSION,
    TurnedView,
    ViewSettings,
    check_yaws,
    turned_views,
)

__all__ = [
    "LABELS_VERSION",
    "Camera",
    "FitSettings",
    "HeadFit",
    "HeadFitter",
    "MorphableModel",
    "TurnableFace",
    "TurnedView",
    "ViewSettings",
    "check_yaws",
    "is_written",
    "load_head_model",
    "load_samples",
    "open_output",
    "pack_kit",
    "read_labels",
    "snapped_vertices",
    "survey",
    "turned_views",
    "visible_landmarks",
    "write_views",
]

__getattr__ = deprecated_names(__name__)
