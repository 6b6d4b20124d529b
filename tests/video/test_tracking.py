"""Tracking faces, with a network that finds dots and a detector that knows where faces are."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keras_facealign.detection import Detection
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import transform_points, turn_matrix
from keras_facealign.inference import FaceAligner
from keras_facealign.inference.head_pose import rotation_matrix
from keras_facealign.landmarks import IBUG68, mean_face
from keras_facealign.video import FaceTracker, Smoothing, TrackedFace
from tests.inference.dots import DotModel, dots_in, draw_dots

SIZE = (360, 240)
SIDE = 60.0


def box_at(x: float, y: float, side: float = SIDE) -> tuple[float, float, float, float]:
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


class Scene:
    """Pictures of faces, and the detector that finds all of them, counting its calls."""

    def __init__(self, size=SIZE) -> None:
        self.size = size
        self.boxes: list[tuple[float, float, float, float]] = []
        self.calls = 0

    def detector(self, image):
        self.calls += 1
        return [Detection(box, 0.9) for box in self.boxes]

    def show(self, *places, side: float = SIDE) -> np.ndarray:
        self.boxes = [box_at(*place, side=side) for place in places]
        return draw_dots(*self.size, [dots_in(box) for box in self.boxes], sigma=side / 30)

    def tracker(self, **options) -> FaceTracker:
        options.setdefault("smoothing", None)
        return FaceTracker(FaceAligner(DotModel(), self.detector), **options)


def ids(faces) -> list[int]:
    return [face.id for face in faces]


def test_two_faces_are_followed_by_their_landmarks_with_few_detections():
    scene = Scene()
    tracker = scene.tracker(detect_every=10)
    for i in range(30):
        places = [(60 + i, 60 + i), (300 - i, 180 - i)]
        faces = tracker.update(scene.show(*places))
        assert ids(faces) == [0, 1]
        # The detector's order is by size, then as found; numbers keep to the faces.
        for place, face in zip(places, faces, strict=True):
            # The crop is where the face was, and cuts off the tails of dots that move out of it.
            np.testing.assert_allclose(face.landmarks, dots_in(box_at(*place)), atol=0.8)
            assert face.score == pytest.approx(0.9)
    assert scene.calls == 3


def test_a_new_face_is_found_when_the_search_is_due():
    scene = Scene()
    tracker = scene.tracker(detect_every=5)
    seen = []
    for i in range(12):
        image = scene.show((60, 60)) if i < 3 else scene.show((60, 60), (280, 160))
        seen.append(ids(tracker.update(image)))
    assert seen == [[0]] * 5 + [[0, 1]] * 7


def test_a_face_that_is_hidden_briefly_keeps_its_number():
    scene = Scene()
    tracker = scene.tracker(patience=5)
    assert ids(tracker.update(scene.show((100, 100)))) == [0]
    for _ in range(4):
        assert tracker.update(scene.show()) == []
    assert ids(tracker.update(scene.show((108, 104)))) == [0]


@pytest.mark.parametrize(("frames", "place"), [(7, (100, 100)), (2, (300, 180))])
def test_a_face_that_is_away_for_long_or_comes_back_elsewhere_is_another(frames, place):
    scene = Scene()
    tracker = scene.tracker(patience=5)
    tracker.update(scene.show((100, 100)))
    for _ in range(frames):
        assert tracker.update(scene.show()) == []
    assert ids(tracker.update(scene.show(place))) == [1]


def test_while_no_face_is_followed_every_frame_is_searched():
    scene = Scene()
    tracker = scene.tracker(detect_every=100, patience=0)
    for _ in range(6):
        assert tracker.update(scene.show()) == []
    assert scene.calls == 6
    for _ in range(6):
        assert len(tracker.update(scene.show((100, 100)))) == 1
    assert scene.calls == 7


class Glancing:
    """A detector that notes its searches: "all", or "large" for glances that miss small faces."""

    def __init__(self) -> None:
        self.boxes: list[tuple[float, float, float, float]] = []
        self.searches: list[str] = []

    def __call__(self, image):
        self.searches.append("all")
        return list(self.boxes)

    def glance(self, image):
        self.searches.append("large")
        return [box for box in self.boxes if box[2] - box[0] > max(SIZE) / 12]


def searches_of(sides: list[float], frames: int, detect_every: int = 5) -> list[tuple[int, str]]:
    """Tracks still faces of these sizes; returns the frames with a search, and its kind."""
    detector = Glancing()
    tracker = FaceTracker(
        FaceAligner(DotModel(), detector), smoothing=None, detect_every=detect_every
    )
    detector.boxes = [box_at(90 + 100 * k, 120, side) for k, side in enumerate(sides)]
    image = draw_dots(*SIZE, [dots_in(box) for box in detector.boxes], sigma=1.0)
    found = []
    for frame in range(frames):
        before = len(detector.searches)
        assert len(tracker.update(image)) == len(sides)
        found += [(frame, kind) for kind in detector.searches[before:]]
    return found


def test_beside_large_faces_one_search_in_four_is_for_small_ones():
    wanted = [(0, "all"), (5, "large"), (10, "large"), (15, "large"), (20, "all"), (25, "large")]
    assert searches_of([90, 80], 30) == wanted


def test_beside_small_faces_every_search_is_for_small_ones():
    assert searches_of([90, 25], 15) == [(0, "all"), (5, "all"), (10, "all")]


def test_without_a_face_every_fifth_frame_is_searched_for_small_ones():
    assert [kind for _, kind in searches_of([], 7)] == ["all", *["large"] * 4, "all", "large"]


def test_a_small_face_that_was_lost_is_searched_for_in_every_frame():
    detector = Glancing()
    tracker = FaceTracker(FaceAligner(DotModel(), detector), smoothing=None, patience=3)
    box = box_at(100, 100, 25)
    detector.boxes = [box]
    assert ids(tracker.update(draw_dots(*SIZE, [dots_in(box)], sigma=1.0))) == [0]
    detector.boxes = []
    for _ in range(3):
        assert tracker.update(draw_dots(*SIZE, [], sigma=1.0)) == []
    detector.boxes = [box]
    assert ids(tracker.update(draw_dots(*SIZE, [dots_in(box)], sigma=1.0))) == [0]
    assert detector.searches == ["all"] * 5


def test_a_face_that_leaves_the_image_is_lost():
    scene = Scene()
    tracker = scene.tracker()
    present = []
    for i in range(16):
        image = scene.show((300 + 6 * i, 120))
        scene.boxes = [box for box in scene.boxes if box[0] < SIZE[0] - SIDE / 2]
        present.append(len(tracker.update(image)))
    assert present[0] == 1 and present[-1] == 0
    gone = present.index(0)
    assert set(present[gone:]) == {0}
    # Half of its landmarks were still in the picture in the frame before.
    inside = dots_in(box_at(300 + 6 * (gone - 1), 120))[:, 0] < SIZE[0] - 0.5
    assert inside.mean() >= 0.5


class Scripted:
    """A network that says where the landmarks are, whatever it sees."""

    input_size = 128
    scheme = IBUG68

    def __init__(self) -> None:
        self.answer = np.zeros((68, 2))
        self.confidence = np.ones(68)

    def predict_landmarks(self, images, batch_size=32):
        count = len(images)
        answers = np.repeat(self.answer[None], count, axis=0).astype(np.float32)
        return answers, np.repeat(self.confidence[None], count, axis=0).astype(np.float32)


def upright_face() -> np.ndarray:
    """A face that fills the middle of a crop of 128 pixels as its own box would."""
    points = mean_face()[:, :2]
    return 63.5 + points * (128 / 1.3 / np.ptp(points, axis=0).max())


def scripted(boxes, **options) -> tuple[Scripted, FaceTracker]:
    model = Scripted()
    model.answer = upright_face()
    return model, FaceTracker(FaceAligner(model, lambda image: boxes), **options)


BOX = [(100.0, 60.0, 180.0, 140.0)]


@pytest.mark.parametrize("fault", ["confidence", "shape", "size", "jump", "nan"])
def test_what_cannot_be_the_same_face_is_lost(fault):
    boxes = list(BOX)
    model, tracker = scripted(boxes, patience=0)
    image = np.zeros((240, 320, 3), np.uint8)
    assert ids(tracker.update(image)) == [0]
    assert ids(tracker.update(image)) == [0]
    boxes.clear()
    if fault == "confidence":
        model.confidence = np.full(68, 0.3)
    elif fault == "shape":
        model.answer = upright_face()[np.random.default_rng(0).permutation(68)]
    elif fault == "size":
        model.answer = (upright_face() - 63.5) * 0.5 + 63.5
    elif fault == "jump":
        model.answer = upright_face() + np.array([90, 0])
    else:
        model.answer = np.full((68, 2), np.nan)
    assert tracker.update(image) == []
    boxes += BOX
    model.answer, model.confidence = upright_face(), np.ones(68)
    assert ids(tracker.update(image)) == [1]


def test_changes_that_faces_do_make_are_no_loss():
    model, tracker = scripted(list(BOX))
    image = np.zeros((240, 320, 3), np.uint8)
    base = upright_face()
    opened = base.copy()
    opened[[5, 6, 7, 8, 9, 10, 11, 55, 56, 57, 58, 59, 65, 66, 67], 1] += 8  # the mouth opens
    turn = np.array([[0.97, -0.24], [0.24, 0.97]])
    for answer in (base, opened, base, 63.5 + (base - 63.5) @ turn.T, base * 1.2 - 12, base + 15):
        model.answer = answer
        assert ids(tracker.update(image)) == [0]


def test_the_crop_of_a_face_that_leans_turns_with_it():
    model, tracker = scripted([Detection((100.0, 60.0, 180.0, 140.0), roll=70)], smoothing=None)
    face = upright_face()
    face += 63.5 - (face.min(axis=0) + face.max(axis=0)) / 2
    model.answer = face
    image = np.zeros((240, 320, 3), np.uint8)
    (first,) = tracker.update(image)
    right, left = (first.landmarks[group].mean(axis=0) for group in ([36, 39], [42, 45]))
    angle = np.degrees(np.arctan2(*(left - right)[::-1]))
    assert abs(angle - 70) < 5 and first.roll == 70
    for _ in range(3):
        (again,) = tracker.update(image)
        assert again.roll == 70 and again.id == first.id
        np.testing.assert_allclose(again.landmarks, first.landmarks, atol=0.02)
    # It leans by 15 more degrees, then by 30 more: only then the crop follows.
    for lean, expected in ((15, 70), (30, 70), (0, 100)):
        turn = turn_matrix(lean, (63.5, 63.5))
        model.answer = transform_points(turn, face)
        (again,) = tracker.update(image)
        assert abs(again.roll - expected) < 5
    assert ids(tracker.update(image)) == [0]


def test_what_is_not_reliable_is_no_new_face():
    model, tracker = scripted(list(BOX))
    model.confidence = np.full(68, 0.6)  # enough to follow a face, not to begin with one
    assert tracker.update(np.zeros((240, 320, 3), np.uint8)) == []


def test_poses_come_with_the_68_points_only():
    model, tracker = scripted(list(BOX))
    image = np.zeros((240, 320, 3), np.uint8)
    turned = mean_face() @ rotation_matrix(25, 0, 10).T
    model.answer = 63.5 + turned[:, :2] * (128 / 1.3 / np.ptp(turned[:, :2], axis=0).max())
    (face,) = tracker.update(image)
    assert face.pose is not None
    # Drawn from afar, seen by a camera near the face: not to a fraction of a degree.
    assert abs(face.pose.yaw - 25) < 6 and abs(face.pose.roll - 10) < 3
    record = json.loads(json.dumps(face.to_dict()))
    fields = ["id", "box", "roll", "score", "reliable", "landmarks", "confidence", "pose"]
    assert list(record) == fields
    scene = Scene()
    (dots,) = scene.tracker().update(scene.show((100, 100)))
    assert dots.pose is None and "pose" not in dots.to_dict()


def test_smoothing_cuts_jitter_and_raw_landmarks_stay_to_be_had():
    rng = np.random.default_rng(0)
    scene = Scene()
    tracker = scene.tracker(smoothing=Smoothing(beta=0, face_beta=0))
    scene.boxes = [box_at(100, 100)]
    faces: list[TrackedFace] = []
    for _ in range(60):
        points = dots_in(scene.boxes[0]) + rng.normal(0, 0.7, (3, 2))
        faces += tracker.update(draw_dots(*SIZE, [points], sigma=2))
    raw = np.array([face.raw_landmarks for face in faces])[10:]
    smoothed = np.array([face.landmarks for face in faces])[10:]
    assert smoothed.std(axis=0).mean() < 0.4 * raw.std(axis=0).mean()
    np.testing.assert_array_equal(faces[0].landmarks, faces[0].raw_landmarks)


def test_most_faces_is_kept_and_the_largest_come_first():
    scene = Scene()
    image = scene.show((60, 60), (300, 60), (60, 180))
    scene.boxes[1] = box_at(300, 60, 70)
    tracker = scene.tracker(max_faces=2)
    faces = tracker.update(image)
    assert len(faces) == 2
    np.testing.assert_allclose(faces[0].landmarks, dots_in(box_at(300, 60)), atol=0.25)
    calls = scene.calls
    for _ in range(40):
        assert ids(tracker.update(image)) == [0, 1]
    assert scene.calls == calls  # nothing to look for


def test_a_face_that_is_detected_twice_is_one():
    scene = Scene()
    image = scene.show((100, 100))
    scene.boxes = [box_at(100, 100), box_at(103, 98)]
    assert ids(scene.tracker().update(image)) == [0]


def test_tracks_that_run_into_each_other_become_one():
    scene = Scene()
    tracker = scene.tracker(detect_every=100)
    left, right = (100.0, 120.0), (220.0, 120.0)
    assert ids(tracker.update(scene.show(left, right))) == [0, 1]
    # The network goes for the same dots from both boxes.
    tracker._tracks[1].box = np.array(box_at(*left, side=30), np.float32)
    tracker._tracks[1].landmarks = tracker._tracks[0].landmarks.copy()
    assert ids(tracker.update(scene.show(left))) == [0]


def test_another_frame_size_resets_with_new_numbers():
    small, large = Scene(), Scene((500, 300))
    tracker = small.tracker()
    assert ids(tracker.update(small.show((100, 100)))) == [0]
    image = large.show((400, 200))
    small.boxes = large.boxes
    faces = tracker.update(image)
    assert ids(faces) == [1]
    np.testing.assert_allclose(faces[0].landmarks, dots_in(box_at(400, 200)), atol=0.25)


def test_memory_is_bounded_however_many_faces_come_and_go():
    scene = Scene()
    tracker = scene.tracker(max_faces=3, patience=1000, detect_every=1)
    rng = np.random.default_rng(0)
    for i in range(120):
        places = [] if i % 2 else [(rng.uniform(40, 320), rng.uniform(40, 200))]
        tracker.update(scene.show(*places))
        assert len(tracker._tracks) <= 3 and len(tracker._lost) <= 3


def test_bad_input():
    with pytest.raises(FaceAlignError, match="no detector"):
        FaceTracker(FaceAligner(DotModel(), None))
    scene = Scene()
    for options, complaint in (
        ({"max_faces": 0}, "max_faces is 0"),
        ({"detect_every": 0}, "detect_every is 0"),
        ({"patience": -1}, "patience is -1"),
        ({"min_confidence": 1.0}, "min_confidence is 1.0"),
        ({"frame_rate": 0.0}, "frame_rate is 0"),
    ):
        with pytest.raises(FaceAlignError, match=complaint):
            scene.tracker(**options)
    tracker = scene.tracker()
    tracker.update(scene.show((100, 100)), time=2.0)
    with pytest.raises(FaceAlignError, match=r"frame 7: its time 1\.5 does not follow 2\.0"):
        tracker.update(scene.show((100, 100)), time=1.5, name="frame 7")
    with pytest.raises(FaceAlignError, match="frame 8: has shape"):
        tracker.update(np.zeros((2, 2, 7), np.uint8), name="frame 8")
