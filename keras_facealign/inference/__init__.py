"""From photos to landmarks: the aligner, head pose and drawing."""

from keras_facealign._deprecated import deprecated_names
from keras_facealign.inference.aligner import Face, FaceAligner
from keras_facealign.inference.drawing import draw_faces
from keras_facealign.inference.head_pose import HeadPose, estimate_head_pose

__all__ = ["Face", "FaceAligner", "HeadPose", "draw_faces", "estimate_head_pose"]

__getattr__ = deprecated_names(__name__)
