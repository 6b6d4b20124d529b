"""The MTCNN face detector."""

from __future__ import annotations

import numpy as np

from keras_facealign._opencv import cv2
from keras_facealign.detection.detector import Detection, shift_and_scale_box
from keras_facealign.detection.mtcnn.cascade import Cascade, find_faces, load_cascade
from keras_facealign.errors import FaceAlignError


class MTCNNDetector:
    """Finds faces with MTCNN (Zhang et al., 2016).

    Weights and boxes are those of the `mtcnn` package. The three small networks are TFLite files,
    which run on LiteRT or, where that is not installed, on TensorFlow's own interpreter; Keras is
    not needed. They are loaded on the first call.

    The detector resizes the image so that the smallest face to find is 20 pixels wide, as in
    MTCNN's training, and the longer side is at most `max_side` pixels. With the default settings
    the smallest face found in a photo of 4096 pixels is therefore 80 pixels wide.

    MTCNN's boxes run from the forehead to the chin. `SHIFT` and `SCALE` convert them (see
    `shift_and_scale_box`); `benchmarks/fit_detector_box.py` measured them on 300W.

    Args:
        min_face_size: Smallest face to find, in pixels of the image.
        threshold: Smallest score of a face, 0 to 1.
        max_side: Longest side of the resized image, in pixels.

    Raises:
        FaceAlignError: If a setting is out of range.

    Example:
        >>> detector = MTCNNDetector(min_face_size=60)
        >>> detector(np.zeros((480, 640, 3), np.uint8))
        []
    """

    SHIFT = (0.004, 0.155)
    SCALE = 0.926

    # The smallest face that MTCNN finds.
    _NATIVE_FACE = 20
    # Its pyramid has no level for a shorter side.
    _MIN_SIDE = 48

    def __init__(
        self, min_face_size: float = 20, threshold: float = 0.8, max_side: int = 1024
    ) -> None:
        if not min_face_size >= 4:
            raise FaceAlignError(f"min_face_size is {min_face_size}; give at least 4 pixels")
        if not 0 <= threshold < 1:
            raise FaceAlignError(f"threshold is {threshold}; give a score from 0 up to below 1")
        if not max_side >= self._MIN_SIDE:
            raise FaceAlignError(f"max_side is {max_side}; give at least {self._MIN_SIDE} pixels")
        self.min_face_size = min_face_size
        self.threshold = threshold
        self.max_side = max_side

    def load(self) -> None:
        """Loads the networks now instead of on the first call.

        Raises:
            FaceAlignError: If neither LiteRT nor TensorFlow is installed.
        """
        self._networks()

    def _networks(self) -> Cascade:
        # Shared by all detectors of the process, so that copies and pickles of one carry none.
        try:
            return load_cascade()
        except ImportError as error:
            raise FaceAlignError(
                f"MTCNN needs LiteRT or TensorFlow ({error}); run: pip install "
                '"keras_facealign[litert]", or give boxes or another detector'
            ) from error

    def raw_boxes(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Finds MTCNN's own boxes, before the conversion to landmark boxes.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            Boxes float64 (N, 4) in image pixels, not clipped to the image, and scores (N,), in
            descending order of the scores.

        Raises:
            FaceAlignError: If neither LiteRT nor TensorFlow is installed.
        """
        networks = self._networks()
        height, width = image.shape[:2]
        scale = min(self._NATIVE_FACE / self.min_face_size, self.max_side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(image, size, interpolation=interpolation) if scale != 1 else image
        bottom, right = (max(0, self._MIN_SIDE - side) for side in resized.shape[:2])
        if bottom or right:
            resized = cv2.copyMakeBorder(resized, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        boxes, scores = find_faces(resized, networks, self.threshold)
        factor = np.array([width / size[0], height / size[1]] * 2)
        # Half-pixel centers: pixel x of the resized image is (x + 0.5) * factor - 0.5 here.
        return (boxes + 0.5) * factor - 0.5, scores

    def __call__(self, image: np.ndarray, /) -> list[Detection]:
        """Finds the faces of one image.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            The faces in descending order of their scores, with boxes tight around the landmarks.

        Raises:
            FaceAlignError: If neither LiteRT nor TensorFlow is installed.
        """
        raw, scores = self.raw_boxes(image)
        proper = (raw[:, 2:] > raw[:, :2]).all(axis=1)
        boxes = shift_and_scale_box(raw[proper], self.SHIFT, self.SCALE).astype(np.float32)
        center = (boxes[:, :2] + boxes[:, 2:]) / 2
        # A face whose center is outside the image leaves too little to align.
        inside = (center >= 0) & (center <= (image.shape[1] - 1, image.shape[0] - 1))
        scores = scores[proper]
        usable = np.flatnonzero(inside.all(axis=1))
        return [Detection(boxes[index], float(scores[index])) for index in usable]
