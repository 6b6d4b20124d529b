"""The way of a photo through crop, network and back, with a network whose answer is known."""

from __future__ import annotations

import dataclasses
import gc
import io
import json
import weakref

import numpy as np
import pytest
from PIL import Image

from keras_facealign.detection import Detection
from keras_facealign.errors import FaceAlignError
from keras_facealign.inference import Face, FaceAligner
from tests.inference.dots import DotModel, dots_in, draw_dots

BOX = (60.0, 40.0, 160.0, 140.0)


def aligner(detector=None) -> FaceAligner:
    return FaceAligner(DotModel(), detector)


@pytest.mark.parametrize(
    ("box", "size"),
    [
        (BOX, (240, 200)),
        ((60.3, 40.7, 161.9, 130.1), (240, 200)),  # neither whole pixels nor square
        ((20.0, 30.0, 52.0, 62.0), (90, 80)),  # magnified three times
        ((-20.0, -15.0, 80.0, 85.0), (120, 110)),  # reaches over the border
        ((150.0, 100.0, 600.0, 580.0), (800, 700)),  # reduced 4.5 times
        ((300.5, 200.5, 2700.0, 2500.0), (3000, 2800)),  # reduced 24 times
    ],
)
def test_landmarks_come_back_to_where_they_are_in_the_photo(box, size):
    points = dots_in(box)
    side = max(box[2] - box[0], box[3] - box[1])
    image = draw_dots(*size, [points], sigma=side / 30)
    (face,) = aligner().align(image, boxes=[box])
    # A hundredth of a pixel of the crop for the rounding to 8 bits, never half a pixel of a photo.
    tolerance = min(0.45, 0.02 * max(1.0, side / 100))
    np.testing.assert_allclose(face.landmarks, points, atol=tolerance)
    np.testing.assert_allclose(face.box, np.float32(box))
    assert face.landmarks.dtype == np.float32
    assert face.confidence.shape == (3,)
    assert face.score == 1.0


def test_faces_of_many_photos_share_batches_and_keep_their_order():
    boxes = [(20.0 + 5 * i, 10.0 + 3 * i, 80.0 + 7 * i, 70.0 + 6 * i) for i in range(7)]
    photos = [draw_dots(200, 180, [dots_in(box)], sigma=2.5) for box in boxes]
    # The second photo has no face, the third has the same one twice.
    counts = [1, 0, 2, 1, 1, 1, 1]
    given = [[box] * count for box, count in zip(boxes, counts, strict=True)]
    subject = aligner()
    faces = subject.align_batch(photos, given, batch_size=3)
    assert [len(found) for found in faces] == counts
    assert subject.model.batches == [3, 3, 1]
    for box, found in zip(boxes, faces, strict=True):
        for face in found:
            np.testing.assert_allclose(face.landmarks, dots_in(box), atol=0.05)


def test_the_faces_of_one_photo_are_one_batch():
    boxes = [(10.0, 10.0, 60.0, 60.0), (110.0, 20.0, 170.0, 80.0), (30.0, 120.0, 90.0, 180.0)]
    subject = aligner()
    # The dots of one face must not show in the crop of another: each has its own surroundings.
    image = draw_dots(200, 200, [dots_in(box) for box in boxes], sigma=2)
    faces = subject.align(image, boxes)
    assert subject.model.batches == [3]
    for box, face in zip(boxes, faces, strict=True):
        np.testing.assert_allclose(face.landmarks, dots_in(box), atol=0.05)


def test_photos_may_come_from_a_generator():
    box = BOX
    photos = (draw_dots(240, 200, [dots_in(box)], sigma=3) for _ in range(3))
    faces = aligner(lambda image: [box]).align_batch(photos, batch_size=2)
    assert [len(found) for found in faces] == [1, 1, 1]


def test_every_kind_of_image_gives_the_same_face(tmp_path):
    points = dots_in(BOX)
    image = draw_dots(240, 200, [points], sigma=3)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    path = tmp_path / "dots.png"
    path.write_bytes(stream.getvalue())
    opaque = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    kinds = [
        image,
        image.astype(np.float32),
        opaque,
        Image.fromarray(image),
        stream.getvalue(),
        path,
        str(path),
    ]
    subject = aligner(lambda image: [Detection(BOX, 0.75)])
    for kind in kinds:
        (face,) = subject.align(kind)
        np.testing.assert_allclose(face.landmarks, points, atol=0.05)
        assert face.score == 0.75


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_rotation_in_exif_is_applied_before_anything_else(orientation, tmp_path):
    points = dots_in(BOX)
    upright = draw_dots(240, 200, [points], sigma=3)
    # Undo, for the stored pixels, what each value tells the viewer to do.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    seen = []

    def detector(image):
        seen.append(image.shape)
        return [BOX]

    (face,) = aligner(detector).align(path)
    assert seen == [(200, 240, 3)]
    np.testing.assert_allclose(face.landmarks, points, atol=0.05)


def test_detected_faces_come_largest_first_and_given_ones_as_given():
    small, large = (10.0, 10.0, 50.0, 50.0), (80.0, 80.0, 180.0, 180.0)
    image = np.zeros((200, 200, 3), np.uint8)
    for order in ([small, large], [large, small]):
        detected = aligner(lambda image, order=order: order).align(image)
        assert [face.box.tolist() for face in detected] == [list(large), list(small)]
        given = aligner().align(image, order)
        assert [face.box.tolist() for face in given] == [list(box) for box in order]


def test_one_box_may_be_given_without_a_list():
    image = draw_dots(240, 200, [dots_in(BOX)], sigma=3)
    for box in (BOX, list(BOX), np.array(BOX), Detection(BOX)):
        boxes = [box] if isinstance(box, Detection) else box
        (face,) = aligner().align(image, boxes)
        np.testing.assert_allclose(face.landmarks, dots_in(BOX), atol=0.05)


@pytest.mark.parametrize("none", [[], (), np.zeros((0, 4))])
def test_no_face_is_an_empty_list(none):
    image = np.zeros((50, 50, 3), np.uint8)
    subject = aligner(lambda image: none)
    assert subject.align(image) == []
    assert subject.align(image, boxes=none) == []
    assert subject.model.batches == []


@pytest.mark.parametrize(
    ("box", "complaint"),
    [
        ((10, 10, 10, 40), "no area"),
        ((40, 10, 10, 40), "no area"),
        ((10, 10, float("nan"), 40), "not finite"),
        ((10, 10, float("inf"), 40), "not finite"),
        ((300, 10, 340, 40), "outside the 100x80 image"),
        ((-40, -40, -1, -1), "outside the 100x80 image"),
        ((0.1, 0.1, 0.2, 0.2), "smaller than a pixel"),
        ((1, 2, 3), "not four numbers"),
        ("abcd", "not four numbers"),
        (None, "not four numbers"),
    ],
)
def test_unusable_boxes_are_named_with_their_photo(box, complaint):
    image = np.zeros((80, 100, 3), np.uint8)
    with pytest.raises(FaceAlignError, match=complaint) as error:
        aligner().align(image, [box], name="group.jpg")
    assert str(error.value).startswith("group.jpg: box")
    with pytest.raises(FaceAlignError, match=complaint):
        aligner(lambda image: [box]).align(image)


def test_other_bad_calls():
    image = np.zeros((80, 100, 3), np.uint8)
    with pytest.raises(FaceAlignError, match=r"a\.jpg: no boxes given"):
        aligner().align(image, name="a.jpg")
    with pytest.raises(FaceAlignError, match="NoneType is not a list of boxes"):
        aligner(lambda image: None).align(image)
    with pytest.raises(FaceAlignError, match="Unknown detector 'haar'"):
        FaceAligner(DotModel(), "haar")
    with pytest.raises(FaceAlignError, match="batch_size is 0"):
        aligner().align(image, [BOX], batch_size=0)
    for one in (image, image[:, :, 0], "photo.jpg", b"bytes", Image.fromarray(image)):
        with pytest.raises(FaceAlignError, match="takes a list of images"):
            aligner().align_batch(one)
    for boxes in ([[]], [[], [], []]):
        with pytest.raises(FaceAlignError, match=f"boxes has {len(boxes)} entries"):
            aligner().align_batch([image, image], boxes)


def test_a_bad_photo_is_named(tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    for bad in (broken, str(broken), tmp_path / "missing.png"):
        with pytest.raises(FaceAlignError, match=str(bad)):
            aligner().align(bad, [BOX])
    good = np.zeros((200, 240, 3), np.uint8)
    with pytest.raises(FaceAlignError, match=r"^image 1: "):
        aligner().align_batch([good, np.full((9, 9, 3), np.nan)], [[BOX], [BOX]])
    with pytest.raises(FaceAlignError, match=r"^second: "):
        aligner().align_batch([good, b""], [[BOX], [BOX]], names=["first", "second"])


def test_face_is_frozen_and_turns_into_plain_numbers():
    face = Face(
        landmarks=np.array([[1.23456, 2.0]], np.float32),
        confidence=np.array([0.98766], np.float32),
        box=np.array([1, 2, 3.5, 4], np.float32),
        score=0.5,
    )
    assert dataclasses.replace(face, score=1 / 3).to_dict()["score"] == 0.3333
    assert Face(face.landmarks, face.confidence, face.box).score == 1
    record = json.loads(json.dumps(face.to_dict()))
    assert record == {
        "box": [1.0, 2.0, 3.5, 4.0],
        "roll": 0.0,
        "score": 0.5,
        "reliable": True,
        "landmarks": [[1.235, 2.0]],
        "confidence": [0.9877],
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        face.score = 1.0


def test_runtime_is_resolved_and_reported():
    assert aligner().runtime == "keras"
    with pytest.raises(FaceAlignError, match="Unknown runtime 'gpu'"):
        FaceAligner(DotModel(), None, runtime="gpu")
    unfit = FaceAligner(DotModel(), None, runtime="openvino")
    for use in (lambda: unfit.runtime, lambda: unfit.align(np.zeros((200, 200, 3), "uint8"), BOX)):
        with pytest.raises(FaceAlignError, match="DotModel is not a FaceAlignModel"):
            use()


def test_every_runtime_finds_the_same_face():
    pytest.importorskip("openvino", reason="openvino is not installed")
    from keras_facealign.presets import from_preset

    model = from_preset("sat1_cab_mobile")
    image = np.random.default_rng(0).integers(0, 256, (90, 80, 3)).astype("uint8")
    faces = {}
    for runtime in ("auto", "keras"):
        subject = FaceAligner(model, None, runtime)
        faces[subject.runtime] = subject.align(image, [(10, 10, 70, 70), (0, 20, 50, 90)])
    assert list(faces) == ["openvino", "keras"]
    for one, other in zip(*faces.values(), strict=True):
        np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-4)
        moved = np.abs(one.landmarks - other.landmarks).max(axis=-1)
        # Noise for a face: where two peaks are equal, rounding picks one.
        assert np.mean(moved < 0.01) > 0.95


class TestBrokenPhotosAmongOthers:
    """Photos 2 and 5 of seven are broken, and the faces of photo 3 do not fill a batch."""

    BROKEN = (2, 5)

    @pytest.fixture
    def photos(self):
        good = draw_dots(240, 200, [dots_in(BOX)], sigma=3)
        return [b"no photo" if i in self.BROKEN else good for i in range(7)]

    def assert_found(self, faces):
        (face,) = faces
        np.testing.assert_allclose(face.landmarks, dots_in(BOX), atol=0.05)

    @pytest.mark.parametrize("batch_size", [1, 3, 32])
    def test_errors_take_the_place_of_faces(self, photos, batch_size):
        found = aligner(lambda image: [BOX]).align_batch(
            iter(photos), names=list("abcdefg"), batch_size=batch_size, on_error="return"
        )
        assert len(found) == 7
        for index, faces in enumerate(found):
            if index in self.BROKEN:
                assert isinstance(faces, FaceAlignError)
                assert str(faces).startswith("abcdefg"[index] + ":")
            else:
                self.assert_found(faces)

    @pytest.mark.parametrize("batch_size", [1, 3, 32])
    def test_the_error_carries_the_faces_before_it(self, photos, batch_size):
        with pytest.raises(FaceAlignError, match="image 2") as caught:
            aligner(lambda image: [BOX]).align_batch(photos, batch_size=batch_size)
        assert len(caught.value.results) == 2
        for faces in caught.value.results:
            self.assert_found(faces)

    def test_a_detector_that_fails_is_a_broken_photo(self, photos):
        def detector(image):
            raise ZeroDivisionError("in the detector")

        found = aligner(detector).align_batch([photos[0]], on_error="return")
        assert isinstance(found[0], ZeroDivisionError)

    def test_a_generator_that_fails_loses_nothing(self, photos):
        def read():
            yield photos[0]
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="disk") as caught:
            aligner(lambda image: [BOX]).align_batch(read(), on_error="return")
        (faces,) = caught.value.results
        self.assert_found(faces)

    def test_a_network_that_fails_gives_no_half_done_photos(self, photos):
        class FailingModel(DotModel):
            def predict_landmarks(self, images, batch_size=32):
                if len(self.batches) == 1:
                    raise RuntimeError("out of memory")
                return super().predict_landmarks(images, batch_size)

        subject = FaceAligner(FailingModel(), lambda image: [BOX, BOX])
        with pytest.raises(RuntimeError, match="memory") as caught:
            subject.align_batch([photos[0]] * 4, batch_size=3)
        # Of the second photo's two faces only one had been in the batch that worked.
        assert [len(faces) for faces in caught.value.results] == [2]

    @pytest.mark.parametrize("while_handling", [False, True])
    def test_kept_errors_do_not_keep_photos(self, photos, while_handling):
        seen = []

        def look(image):
            raise FaceAlignError("no")

        def detector(image):
            seen.append(weakref.ref(image))
            if not while_handling:
                raise FaceAlignError("no")
            try:
                look(image)
            except FaceAlignError:
                raise FaceAlignError("neither")  # noqa: B904

        stream = io.BytesIO()
        Image.fromarray(photos[0]).save(stream, "PNG")
        found = aligner(detector).align_batch([stream.getvalue()] * 2, on_error="return")
        gc.collect()
        assert len(found) == len(seen) == 2
        assert all(reference() is None for reference in seen)

    def test_other_answers_to_errors_are_refused(self, photos):
        with pytest.raises(FaceAlignError, match="on_error is 'skip'; choose raise or return"):
            aligner().align_batch(photos, on_error="skip")


class ArrowModel(DotModel):
    """Believes in faces whose first dot is above the other two, as far as it is."""

    def predict_landmarks(
        self, images: np.ndarray, batch_size: int = 32
    ) -> tuple[np.ndarray, np.ndarray]:
        points, _ = super().predict_landmarks(images, batch_size)
        height = points[:, 1:, 1].mean(axis=1) - points[:, 0, 1]
        confidence = np.clip(0.5 + height / 60, 0, 1)
        return points, np.repeat(confidence[:, None], 3, axis=1).astype(np.float32)


ARROW = np.array([[0, -30.0], [-20, 20], [24, 26]])


def arrow_photo(
    roll: float, center=(130.0, 120.0), size: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """A photo of an arrow that leans clockwise by some degrees, and its points."""
    angle = np.radians(roll)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = size * ARROW @ turn.T + center
    return draw_dots(260, 250, [points], sigma=3), points


@pytest.mark.parametrize("roll", [0, 20, 75, 133, 180, -90, -160])
def test_crops_are_turned_upright_by_the_detectors_angle(roll):
    photo, points = arrow_photo(roll)
    box = np.array([80.0, 70, 180, 170])
    subject = FaceAligner(ArrowModel(), lambda image: [Detection(box, 0.8, roll)])
    (face,) = subject.align(photo)
    np.testing.assert_allclose(face.landmarks, points, atol=0.05)
    assert face.roll == roll and face.reliable and face.confidence.min() > 0.9
    np.testing.assert_array_equal(face.box, np.float32(box))
    assert subject.model.batches == [1]


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("told", [0, 15])
def test_a_face_that_is_not_believed_is_searched_in_turned_crops(turns, told):
    photo, points = arrow_photo(told + 90 * turns)
    # Neither square nor turned: after a quarter turn, its sides change places.
    subject = FaceAligner(ArrowModel(), lambda image: [Detection((70, 75, 190, 165), 0.8, told)])
    (face,) = subject.align(photo)
    np.testing.assert_allclose(face.landmarks, points, atol=0.05)
    assert face.roll == pytest.approx((told + 90 * turns + 180) % 360 - 180)
    assert face.reliable
    expected = [70, 75, 190, 165] if turns == 2 else [85, 60, 175, 180]
    np.testing.assert_allclose(face.box, expected)
    assert subject.model.batches == [1, 3]
    # A given box is taken as it is, and the face is marked.
    (given,) = subject.align(photo, [Detection((70, 75, 190, 165), roll=told)])
    assert given.roll == told and not given.reliable
    assert subject.model.batches[2:] == [1]


def test_a_detector_with_key_points_may_misjudge_the_angle_too():
    photo, points = arrow_photo(180)
    found = Detection((80.0, 70, 180, 170), 0.7, keypoints=np.zeros((6, 2)))
    (face,) = FaceAligner(ArrowModel(), lambda image: [found]).align(photo)
    assert face.reliable and abs(face.roll) == 180
    np.testing.assert_allclose(face.landmarks, points, atol=0.05)


def test_what_is_no_face_is_marked_and_comes_last():
    photo, _ = arrow_photo(0)
    boxes = [(10.0, 10, 250, 240), (80.0, 70, 180, 170), (0.0, 180, 60, 240)]
    photo[10:12, 10:12] = 255  # spoils the largest box's centroids
    subject = FaceAligner(ArrowModel(), lambda image: boxes)
    faces = subject.align(photo)
    assert [face.reliable for face in faces] == sorted([f.reliable for f in faces], reverse=True)
    assert [tuple(face.box) for face in subject.align(photo, boxes)] == boxes
    record = next(face for face in faces if not face.reliable).to_dict()
    assert record["reliable"] is False and record["roll"] == 0.0


def test_photos_share_batches_while_some_faces_are_turned():
    rolls = [0, 180, 0, 90, 270, 0]
    photos, truth = zip(*(arrow_photo(roll) for roll in rolls), strict=True)
    subject = FaceAligner(ArrowModel(), lambda image: [(80.0, 70, 180, 170)])
    for faces, points, roll in zip(
        subject.align_batch(photos, batch_size=4), truth, rolls, strict=True
    ):
        np.testing.assert_allclose(faces[0].landmarks, points, atol=0.05)
        assert (faces[0].roll - roll) % 360 == 0
    assert subject.model.batches == [4, 6, 2, 3]


def test_a_turned_face_is_not_mixed_up_with_the_next_ones_crops():
    """The next one is believed more, right after its first quarter turn."""
    photos, truth = zip(arrow_photo(180, size=0.5), arrow_photo(90), strict=True)
    subject = FaceAligner(ArrowModel(), lambda image: [(80.0, 70, 180, 170)])
    (first,), (second,) = subject.align_batch(photos)
    np.testing.assert_allclose(first.landmarks, truth[0], atol=0.05)
    np.testing.assert_allclose(second.landmarks, truth[1], atol=0.05)
    assert first.confidence.max() < second.confidence.min() == 1


def test_sigma_is_in_pixels_of_the_photo_for_turned_faces():
    class Calibrated(ArrowModel):
        def predict_outputs(self, images, batch_size=32, flip_test=False):
            points, confidence = self.predict_landmarks(images, batch_size)
            ones = np.ones_like(confidence)
            return {
                "landmarks": points, "confidence": confidence, "sigma": ones, "visibility": ones,
            }  # fmt: skip

    photo, _ = arrow_photo(65)
    for roll in (0, 65):
        (face,) = FaceAligner(Calibrated(), lambda image, r=roll: [
            Detection((80.0, 70, 180, 170), roll=r)
        ]).align(photo)  # fmt: skip
        np.testing.assert_allclose(face.sigma, 1.3 * 100 / 128, rtol=1e-5)


class UncertainModel(DotModel):
    """Is uncertain by two pixels of the crop, a little less at each landmark."""

    def predict_outputs(self, images, batch_size=32):
        landmarks, confidence = self.predict_landmarks(images, batch_size)
        sigma = np.broadcast_to([2.0, 1.0, 0.5], confidence.shape)
        return {
            "landmarks": landmarks,
            "confidence": confidence,
            "sigma": sigma.astype(np.float32),
            "visibility": np.full(confidence.shape, 0.9876543, np.float32),
        }


@pytest.mark.parametrize("side", [32.0, 100.0, 400.0])
def test_standard_deviations_are_pixels_of_the_photo(side):
    box = (40.0, 30.0, 40.0 + side, 30.0 + side)
    size = int(side) + 100
    image = draw_dots(size, size, [dots_in(box)], sigma=side / 30)
    (face,) = FaceAligner(UncertainModel(), None).align(image, box)
    np.testing.assert_allclose(face.sigma, np.array([2, 1, 0.5]) * 1.3 * side / 128, rtol=1e-4)
    assert face.sigma.dtype == face.visibility.dtype == np.float32
    record = face.to_dict()
    assert record["sigma"] == [round(float(s), 3) for s in face.sigma]
    assert record["visibility"] == [0.9877] * 3


def test_detected_faces_are_sorted_by_area():
    """Not by a side or a place: the widest, the highest and the last box are not the largest."""
    boxes = [(0, 0, 90, 20), (100, 100, 160, 160), (0, 40, 20, 180), (120, 190, 140, 199)]
    faces = aligner(lambda image: boxes).align(np.zeros((200, 200, 3), np.uint8))
    assert [tuple(face.box) for face in faces] == [boxes[i] for i in (1, 2, 0, 3)]


def test_a_preset_comes_with_its_weights_unless_told_otherwise(monkeypatch):
    seen = []

    def load(name, runtime, load_weights):
        seen.append((name, runtime, load_weights))
        return DotModel()

    monkeypatch.setattr("keras_facealign.inference.aligner.load_model", load)
    FaceAligner.from_preset("some", None)
    FaceAligner.from_preset("some", None, load_weights=False, runtime="keras")
    assert seen == [("some", "auto", True), ("some", "keras", False)]
