"""All readers of untrusted files, with the files that are damaged for them."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import seeds


@dataclass(frozen=True)
class Target:
    """A reader of untrusted files.

    Attributes:
        file_name: What the damaged file is called, below a folder of its own.
        seeds: Makes the good files.
        read: Reads the file.
        structure: A key of `mutations.STRUCTURES`.
        cost: Seconds that one input takes, roughly.
        prepare: Writes what else the folder must hold.
    """

    file_name: str
    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[Path], Any]
    structure: str = "bytes"
    cost: float = 1e-3
    prepare: Callable[[Path], None] | None = None


def _read_pts(path: Path) -> None:
    from keras_facealign.data.pts import read_pts

    read_pts(path, signed_visibility=True)


def _read_mat(path: Path) -> None:
    from keras_facealign.data.mat import read_mat

    arrays = read_mat(path, {"Pose_Para": (1, 7), "pt2d": (2, None)})
    assert arrays["Pose_Para"].shape == (1, 7)


def _read_mat73(path: Path) -> None:
    from keras_facealign.data.mat import open_mat73

    with open_mat73(path) as file:
        file.array("phisT", (87, None))
        for number, reference in enumerate(file.references("IsT")):
            file.follow(reference, f"IsT {number}")


def _read_mxnet(path: Path) -> None:
    from keras_facealign.converters.mxnet.checkpoint import read_checkpoint

    read_checkpoint(path)


def _read_symbol(path: Path) -> None:
    from keras_facealign.converters.mxnet.files import symbol_has_gate

    symbol_has_gate(path.with_name("model-0000.params"))


def _read_packed(path: Path) -> None:
    from keras_facealign.data.packed import PackedFaces

    PackedFaces(path, batch_size=1)[0]


def _read_predictions(path: Path) -> None:
    from keras_facealign.evaluation.prediction_files import match_names, read_landmarks

    file = read_landmarks(path)
    if file.names is not None:
        match_names(["a.jpg", "b/c.png"], file.names)


def _read_boxes(path: Path) -> None:
    from keras_facealign.data.boxes import read_boxes

    read_boxes(path)


def _read_image(path: Path) -> None:
    from keras_facealign.data.images import is_plain_jpeg, read_image

    is_plain_jpeg(path)
    image = read_image(path)
    assert image.dtype == np.uint8 and image.shape[2] == 3


def _read_metadata(path: Path) -> None:
    from keras_facealign.runtimes.metadata import read_metadata

    read_metadata(path)


def _run_exported(path: Path) -> None:
    from keras_facealign.runtimes.exported import ExportedModel

    model = ExportedModel(path, threads=1)
    side = model.input_size
    landmarks, _ = model.predict_landmarks(np.zeros((1, side, side, 3), np.uint8))
    assert landmarks.shape == (1, model.num_landmarks, 2)


def _read_calibration(path: Path) -> None:
    from keras_facealign.calibration import read_calibration

    read_calibration(path)


def _read_preset(path: Path) -> None:
    from keras_facealign.storage.json_files import read_json_object
    from keras_facealign.storage.preset_folders import check_replaceable

    read_json_object(path)
    check_replaceable(path.parent)


def _load_config(path: Path) -> None:
    from keras_facealign.models import FaceAlignModel

    FaceAlignModel.from_preset(path.parent, load_weights=False)


def _load_weights(path: Path) -> None:
    # As `from_preset` does, without the half second that building a network takes.
    from keras_facealign.models.preset_io import _load_weights

    _load_weights(seeds.small_model(), path.parent)


def _load_archive(path: Path) -> None:
    seeds.small_model().load_weights(path)


def _halve_weights(path: Path) -> None:
    from keras_facealign.storage.half_precision import store_half_precision

    store_half_precision(path.parent)


def _read_data_set(name: str, split: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        module = importlib.import_module(f"keras_facealign.data.readers.{name}")
        root = next(parent for parent in path.parents if (parent / ".root").exists())
        module.survey(root)
        # They are read one by one, so that as many as fit into a file may take their time.
        for _ in islice(module.load_samples(root, split, on_skip=lambda error: None), 100):
            pass

    return read


def _read_aflw2000(path: Path) -> None:
    from keras_facealign.data.readers import aflw2000_3d

    aflw2000_3d.survey(path.parent)
    for _ in aflw2000_3d.load_samples(
        path.parent, labels="reannotated", on_skip=lambda error: None
    ):
        pass


def _read_aflw_crops(path: Path) -> None:
    from keras_facealign.data.readers import aflw_3d_crops

    for _ in aflw_3d_crops.load_samples(path.parent, on_skip=lambda error: None):
        pass


def _read_head(path: Path) -> None:
    from keras_facealign.data.face_profiling import load_head_model

    load_head_model(path)


def _pack_kit(path: Path) -> None:
    from keras_facealign.data.face_profiling.kit import pack_kit

    pack_kit(path.parent, path.with_name("head.npz"))


def _survey_turned(path: Path) -> None:
    from keras_facealign.data.face_profiling import storage

    storage.survey(path.parent)


def _read_results(path: Path) -> None:
    from keras_facealign.evaluation import Predictions

    Predictions.load(path).report()


def _read_video(path: Path) -> None:
    from keras_facealign.errors import FaceAlignError
    from keras_facealign.video import VideoReader

    with VideoReader(path) as reader:
        for _ in reader:
            pass
        if reader.fault:
            raise FaceAlignError(reader.fault)


def _read_turned(path: Path) -> None:
    from keras_facealign.data.face_profiling.storage import read_labels

    read_labels(path.parent, path.stem)


def _load_labels(kind: str, folder: bool = False) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        from keras_facealign.data.labels import guess_kind, load
        from keras_facealign.errors import FaceAlignError

        with contextlib.suppress(FaceAlignError):
            guess_kind(path)
        labels = load(path.parent if folder else path, kind)
        for error in labels.skipped:
            assert "\n" not in str(error) and len(str(error)) <= 2000, str(error)
        assert "\n" not in labels.describe()
        for face in labels:
            assert face.landmarks.shape == (labels.num_landmarks, 2)
            assert np.isfinite(face.landmarks).all() and np.isfinite(face.box).all()

    return read


def _labels(name: str, structure: str, kind: str = "", **options: Any) -> Target:
    kind = kind or name
    make = getattr(seeds, f"labels_{name}")
    read = _load_labels(kind, **options)
    file = {"json": "a.json", "text": "a.txt"}[structure]
    return Target(file, make, read, structure, 5e-3, _with_root("a.png", "b.png"))


def _with_root(*images: str, side: int = 160) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        from PIL import Image

        (folder / ".root").touch()
        for name in images:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (side, side), (90, 60, 30)).save(folder / name)

    return prepare


def _with_files(
    make: Callable[[], dict[str, bytes]], *images: str, side: int = 160
) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        _with_root(*images, side=side)(folder)
        for name, content in make().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    return prepare


def _with_config(folder: Path) -> None:
    for name in ("config.json", "metadata.json"):
        (folder / name).write_bytes(seeds.small_preset()[name])


def _cfp(file_name: str, cost: float = 5e-3) -> Target:
    images = [f"Data/Images/{i:03d}/frontal/01.jpg" for i in (1, 2)]
    # Small: the pictures of all pairs are read each time.
    prepare = _with_files(seeds.cfp_files, *images, side=16)
    make = partial(seeds.cfp, file_name)
    return Target(file_name, make, _read_data_set("cfp", "ff"), "text", cost, prepare)


_LISTS = "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_test.txt"

TARGETS: dict[str, Target] = {
    "pts": Target("face.pts", seeds.pts, _read_pts, "text"),
    "mat5": Target("face.mat", seeds.mat5, _read_mat, "mat"),
    "mat73": Target("COFW_test.mat", seeds.mat73, _read_mat73, cost=3e-3),
    "mxnet": Target("model-0000.params", seeds.mxnet, _read_mxnet, cost=3e-3),
    "mxnet_symbol": Target("model-symbol.json", seeds.symbol, _read_symbol, "json"),
    "packed": Target("faces.npz", seeds.packed, _read_packed, "npz", 3e-3),
    "predictions_json": Target("p.json", seeds.predictions_json, _read_predictions, "json"),
    "predictions_csv": Target("p.csv", seeds.predictions_csv, _read_predictions, "text"),
    "predictions_npz": Target("p.npz", seeds.predictions_npz, _read_predictions, "npz"),
    "predictions_npy": Target("p.npy", seeds.predictions_npy, _read_predictions, "npy"),
    "boxes": Target("boxes.csv", seeds.boxes, _read_boxes, "text"),
    "images": Target("image", seeds.images, _read_image, "image", 2e-3),
    "tflite": Target("model.tflite", seeds.tflite, _run_exported, cost=2e-2),
    "tflite_unsigned": Target("model.tflite", seeds.tflite_unsigned, _run_exported, cost=2e-2),
    "onnx": Target("model.onnx", seeds.onnx, _run_exported, cost=5e-3),
    "onnx_unsigned": Target("model.onnx", seeds.onnx_unsigned, _run_exported, cost=2e-2),
    "exported_metadata": Target("model.tflite", seeds.exported_metadata, _read_metadata),
    "calibration": Target("calibration.json", seeds.calibration, _read_calibration, "json"),
    "preset_metadata": Target(
        "metadata.json", seeds.metadata, _read_preset, "json", prepare=_with_config
    ),
    "preset_config": Target("config.json", seeds.config, _load_config, "json", 1e-2),
    "weights": Target("model.weights.h5", seeds.weights, _load_weights, "bytes", 3e-2),
    "keras_archive": Target("model.keras", seeds.keras_archive, _load_archive, "zip", 3e-2),
    "weights_to_halve": Target(
        "model.weights.h5", seeds.weights, _halve_weights, "bytes", 3e-2, _with_config
    ),
    "wflw": Target(
        _LISTS,
        seeds.wflw,
        _read_data_set("wflw", "test"),
        "text",
        2e-3,
        _with_root("WFLW_images/a.jpg"),
    ),
    "face_synthetics": Target(
        "000000_ldmks.txt",
        seeds.face_synthetics,
        _read_data_set("face_synthetics", "train"),
        "text",
        2e-3,
        _with_root("000000.png"),
    ),
    "lfw": Target(
        "pairs.txt",
        seeds.lfw,
        _read_data_set("lfw", "test"),
        "text",
        2e-3,
        _with_root("lfw/A/A_0001.jpg", "lfw/A/A_0002.jpg", "lfw/B/B_0001.jpg"),
    ),
    "labels_coco": _labels("coco", "json"),
    "labels_csv": _labels("csv", "text"),
    "labels_cvat": _labels("cvat", "text"),
    "labels_dlib": _labels("dlib", "text"),
    "labels_labelme": _labels("labelme", "json"),
    "labels_studio": _labels("label_studio", "json"),
    "labels_txt": _labels("txt_folder", "text", folder=True),
    "labels_via_csv": _labels("via_csv", "text"),
    "labels_via_json": _labels("via_json", "json"),
    "turned_views": Target("face.npz", seeds.turned_views, _read_turned, "npz"),
    "turned_settings": Target("settings.json", seeds.settings, _survey_turned, "json"),
    "cfp_images": _cfp("Protocol/Pair_list_F.txt"),
    "cfp_pairs": _cfp("Protocol/Split/FF/01/same.txt"),
    "cfp_fiducials": _cfp("Data/Fiducials/001/frontal/01.txt"),
    "aflw2000_labels": Target(
        "AFLW2000-3D-Reannotated.pts68.npy",
        seeds.aflw2000_labels,
        _read_aflw2000,
        "npy",
        2e-3,
        _with_files(seeds.aflw2000_files, "AFLW2000/image00002.jpg"),
    ),
    "aflw_crops": Target(
        "labels.npz",
        seeds.aflw_crops,
        _read_aflw_crops,
        "npz",
        2e-3,
        _with_root("images/a.jpg", "images/b.jpg"),
    ),
    "head_model": Target("head.npz", seeds.head_model, _read_head, "npz", 3e-3),
    "head_mesh": Target(
        "generic_neutral_mesh.obj",
        partial(seeds.kit, "generic_neutral_mesh.obj"),
        _pack_kit,
        "text",
        1e-2,
        _with_files(seeds.kit_files),
    ),
    "head_indices": Target(
        "vertex_indices.json",
        partial(seeds.kit, "vertex_indices.json"),
        _pack_kit,
        "json",
        1e-2,
        _with_files(seeds.kit_files),
    ),
    "results": Target("predictions.npz", seeds.results, _read_results, "npz", 1e-2),
    "video": Target("clip", seeds.videos, _read_video, cost=1e-2),
}
