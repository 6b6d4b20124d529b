"""Good files of every kind, small, for `targets`."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from tests.paths import ROOT

_PRESET = ROOT / "saved_models" / "sat1_cab_mobile"


def _rng() -> np.random.Generator:
    return np.random.default_rng(1)


def _saved(write: Callable[[io.BytesIO], Any]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def pts() -> list[bytes]:
    points = _rng().uniform(1, 200, (68, 2))
    rows = [f"{x:.6f} {y:.6f}" for x, y in points]
    signed = [f"{-x:.1f} {y:.1f}" for x, y in points[:5]] + ["-1 -1"]
    return [
        _text(["version: 1", "n_points:  68", "{", *rows, "}"]),
        _text(["n_points: 6", "{", *signed, "}"]),
        _text(rows[:3]),
    ]


def mat5() -> list[bytes]:
    from scipy.io import savemat

    arrays = {
        "Pose_Para": _rng().normal(size=(1, 7)).astype(np.float32),
        "pt2d": _rng().uniform(0, 99, (2, 68)).round(),
        "roi": np.array([[1, 2, 3, 300]], np.int16),
        "name": "text",
    }
    return [
        _saved(lambda f: savemat(f, arrays, do_compression=True)),
        _saved(lambda f: savemat(f, arrays)),
    ]


def mat73() -> list[bytes]:
    import h5py

    def write(stream: io.BytesIO, **packing: Any) -> None:
        with h5py.File(stream, "w", userblock_size=512, libver=("earliest", "v110")) as file:
            refs = file.create_group("#refs#")
            cell = np.empty((1, 2), h5py.ref_dtype)
            for i in range(2):
                image = _rng().integers(0, 255, (3, 20, 30)).astype(np.uint8)
                cell[0, i] = refs.create_dataset(str(i), data=image, **packing).ref
            file.create_dataset("IsT", data=cell)
            file.create_dataset("phisT", data=_rng().uniform(0, 99, (87, 2)), **packing)

    return [
        _saved(write),
        _saved(lambda f: write(f, compression="gzip", shuffle=True)),
        _saved(lambda f: write(f, compression="gzip", chunks=True, fletcher32=True)),
    ]


@cache
def mxnet() -> list[bytes]:
    from keras_facealign.converters.mxnet.manifest import expected_arrays
    from keras_facealign.networks import Architecture
    from tests.converters.mxnet.file_bytes import file_bytes, random

    arch = Architecture("sat", 1, 1, "resnet", width=0.03125)
    arrays = {name: random(shape, i) for i, (name, shape) in enumerate(expected_arrays(arch))}
    return [file_bytes(list(arrays), list(arrays.values()))]


def symbol() -> list[bytes]:
    nodes = [{"op": "Pooling", "name": "p", "attrs": {"pool_type": "max"}, "inputs": [[0, 0, 0]]}]
    return [json.dumps({"nodes": nodes, "arg_nodes": [0], "heads": [[0, 0, 0]]}).encode()]


def packed() -> list[bytes]:
    import tempfile

    from keras_facealign.data.packed import pack

    faces = [
        {
            "image": _rng().integers(0, 255, (90, 90, 3)).astype(np.uint8),
            "landmarks": _rng().uniform(20, 70, (68, 2)).astype(np.float32),
            "visibility": np.full(68, 2),
            "box": np.array([20, 20, 70, 70], np.float32),
            "file_name": f"{i}.jpg",
        }
        for i in range(3)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faces.npz"
        pack(faces, path, side=48, input_size=32)
        return [path.read_bytes()]


def _points() -> np.ndarray:
    return _rng().uniform(0, 200, (2, 68, 2)).round(2)


def predictions_json() -> list[bytes]:
    points = _points().tolist()
    listed = [{"file_name": f"{i}.jpg", "landmarks": p} for i, p in enumerate(points)]
    listed[0]["confidence"] = listed[1]["confidence"] = [0.5] * 68
    return [
        json.dumps({"a.jpg": points[0], "b.jpg": points[1]}).encode(),
        json.dumps(listed).encode(),
        json.dumps([p[:3] for p in points]).encode(),
    ]


def predictions_csv() -> list[bytes]:
    names = [f"{axis}{k}" for k in range(5) for axis in "xy"]
    rows = [",".join([f"{i}.jpg", *(f"{v:.1f}" for v in _rng().uniform(0, 99, 10))]) for i in "ab"]
    full = [",".join(["file_name", *names]), *rows]
    return [_text(full), _text(["x0,y0,confidence0", '"1",2,0.5', ",,", "3,4,1"])]


def predictions_npz() -> list[bytes]:
    names = np.array(["a.jpg", "c.png"])
    everything: dict[str, Any] = {"prediction": _points(), "file_names": names}
    everything["confidence"] = np.full((2, 68), 0.5, np.float32)
    return [
        _saved(lambda f: np.savez(f, **everything)),
        _saved(lambda f: np.savez_compressed(f, landmarks=_points().astype(np.int16))),
    ]


def predictions_npy() -> list[bytes]:
    kinds = (np.float64, np.float32, np.int8)
    return [_saved(lambda f, k=k: np.save(f, _points().clip(0, 99).astype(k))) for k in kinds]


def boxes() -> list[bytes]:
    return [
        _text(["image,x0,y0,x1,y1", "a/1.jpg,10,12.5,90,88", "b.jpg, 1, 2, 3, 4"]),
        _text(["score,image,x0,y0,x1,y1", '0.9,"a, b.jpg",-1,2e1,30,40']),
    ]


@cache
def images() -> list[bytes]:
    from PIL import Image

    Image.init()
    color = Image.fromarray(_rng().integers(0, 255, (24, 32, 3)).astype(np.uint8))
    depth = Image.fromarray(_rng().integers(0, 65535, (24, 32)).astype(np.uint16))
    found = []
    pictures = [color, color.convert("RGBA"), color.convert("P"), color.convert("1"), depth]
    pictures += [color.convert("CMYK"), color.convert("LA"), color.convert("L").convert("F")]
    for kind in sorted(Image.SAVE):
        if kind in ("PDF", "EPS", "HDF5", "GRIB", "BUFR", "WMF"):
            continue
        for picture in pictures:
            try:
                found.append(_saved(lambda f, k=kind, p=picture: p.save(f, k)))
            except (OSError, ValueError, KeyError, AttributeError):
                continue  # a mode that this format does not have
    exif = Image.Exif()
    exif[0x0112] = 6
    found += [_saved(lambda f: color.save(f, "JPEG", progressive=True, exif=exif))] * 4
    found += [_saved(lambda f: color.convert("P").save(f, "PNG", transparency=3))] * 8
    return found


@cache
def tflite() -> list[bytes]:
    return [(_PRESET / name).read_bytes() for name in ("model_int8.tflite", "model.tflite")]


@cache
def tflite_unsigned() -> list[bytes]:
    return [content.replace(b'"checksum"', b'"cheeksum"') for content in tflite()[:1]]


def _dots(**more: Any) -> bytes:
    """An ONNX file of a network that computes little."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from tests.runtimes.exported_files import METADATA, POINTS, SIZE

    def constant(name: str, array: Any) -> Any:
        return numpy_helper.from_array(np.asarray(array), name)

    nodes = [
        helper.make_node("Cast", ["images"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f"], ["m"], axes=[1, 2], keepdims=0),
        helper.make_node("Gemm", ["m", "w", "b"], ["g"]),
        helper.make_node("Reshape", ["g", "s"], ["landmarks"]),
        helper.make_node("Gemm", ["m", "v"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["confidence"]),
    ]
    weights = [
        constant("w", _rng().normal(size=(3, 2 * POINTS)).astype(np.float32)),
        constant("b", np.full(2 * POINTS, 16, np.float32)),
        constant("s", np.array([-1, POINTS, 2])),
        constant("v", np.full((3, POINTS), 0.01, np.float32)),
    ]
    image = helper.make_tensor_value_info("images", TensorProto.UINT8, [None, SIZE, SIZE, 3])
    outputs = [
        helper.make_tensor_value_info("landmarks", TensorProto.FLOAT, [None, POINTS, 2]),
        helper.make_tensor_value_info("confidence", TensorProto.FLOAT, [None, POINTS]),
    ]
    graph = helper.make_graph(nodes, "dots", [image], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    text = json.dumps({**METADATA, "scheme": f"points{POINTS}", "batch": None, **more})
    helper.set_model_props(model, {"keras_facealign": text})
    onnx.checker.check_model(model)
    return model.SerializeToString()


@cache
def onnx() -> list[bytes]:
    from keras_facealign.runtimes.verification import UNSIGNED, sign

    return [sign(_dots(checksum=UNSIGNED))]


@cache
def onnx_unsigned() -> list[bytes]:
    return [_dots()]


def exported_metadata() -> list[bytes]:
    from tests.runtimes.test_metadata import GOOD, onnx_file, tflite_file

    text = json.dumps(GOOD).encode()
    return [tflite_file(text), onnx_file(text)]


def calibration() -> list[bytes]:
    return [(_PRESET / "calibration.json").read_bytes()]


def metadata() -> list[bytes]:
    return [(_PRESET / "metadata.json").read_bytes()]


@contextlib.contextmanager
def _small_networks() -> Iterator[None]:
    """Networks have three layers: Keras takes 3 ms for every weight that it loads."""
    import keras

    from keras_facealign.layers.common import ConvBatchNorm
    from keras_facealign.models import face_align_model
    from keras_facealign.networks import Network

    def build_network(arch: Any) -> Network:
        images = keras.Input((arch.input_size, arch.input_size, 3), name="images")
        x = ConvBatchNorm(4, 1, name="unit")(images)
        heatmaps = keras.layers.Conv2D(68, 2, strides=2, name="heatmap")(x)
        return Network(images, [heatmaps], [heatmaps])

    with patch.object(face_align_model, "build_network", build_network):
        yield


@cache
def small_model() -> Any:
    from tests.models.tiny import tiny_model

    with _small_networks():
        return tiny_model()


@cache
def small_preset() -> dict[str, bytes]:
    """The files of a preset with that model."""
    import tempfile

    from keras_facealign.presets import save_to_preset

    with tempfile.TemporaryDirectory() as folder, _small_networks():
        path = Path(folder) / "small"
        save_to_preset(small_model(), path)
        return {file.name: file.read_bytes() for file in path.iterdir()}


def config() -> list[bytes]:
    return [small_preset()["config.json"]]


@cache
def weights() -> list[bytes]:
    import tempfile

    from keras_facealign.storage.half_precision import store_half_precision

    with tempfile.TemporaryDirectory() as folder:
        for name, content in small_preset().items():
            (Path(folder) / name).write_bytes(content)
        packed = store_half_precision(folder).read_bytes()
    return [small_preset()["model.weights.h5"], packed]


@cache
def keras_archive() -> list[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        small_model().save(path)
        return [path.read_bytes()]


def wflw() -> list[bytes]:
    numbers = [f"{v:.3f}" for v in _rng().uniform(20, 140, 196)]
    line = " ".join([*numbers, "20", "20", "140", "140", *"010000", "a.jpg"])
    return [_text([line, line])]


def face_synthetics() -> list[bytes]:
    return [_text([f"{x:.3f} {y:.3f}" for x, y in _rng().uniform(20, 140, (70, 2))])]


def lfw() -> list[bytes]:
    return [_text(["1", "A\t1\t2", "A\t1\tB\t1"]), _text(["2\t1", *["A\t1\t2", "A\t1\tB\t1"] * 2])]


def turned_views() -> list[bytes]:
    labels = {
        "landmarks": _points().astype(np.float32),
        "depth": np.zeros((2, 68), np.float32),
        "visibility": np.full((2, 68), 2, np.uint8),
        "pose": np.zeros((2, 3), np.float32),
        "turn": np.zeros(2, np.float32),
        "source": np.array("afw/1.jpg"),
    }
    return [_saved(lambda f: np.savez_compressed(f, **labels))]


def settings() -> list[bytes]:
    return [json.dumps({"split": "train", "turns": [30.0, 60.0], "seed": 1}).encode()]


@cache
def cfp_files() -> dict[str, bytes]:
    """The lists of CFP for two images, each a pair with itself, and their landmarks."""
    images = [f"{i + 1} ../Data/Images/{i + 1:03d}/frontal/01.jpg" for i in range(2)]
    points = [f"{x:.2f},{y:.2f}" for x, y in _rng().uniform(20, 140, (30, 2))]
    files = {"Protocol/Pair_list_F.txt": _text(images)}
    for i in range(2):
        files[f"Data/Fiducials/{i + 1:03d}/frontal/01.txt"] = _text(points)
    for fold in range(10):
        for name in ("same", "diff"):
            files[f"Protocol/Split/FF/{fold + 1:02d}/{name}.txt"] = _text(["1,2"])
    files["Protocol/Split/FF/01/same.txt"] = _text(["1,1", "2,2"])
    return files


def cfp(name: str) -> list[bytes]:
    return [cfp_files()[name]]


def aflw2000_labels() -> list[bytes]:
    labels = _rng().uniform(20, 140, (1, 2, 68))
    return [_saved(lambda f, k=k: np.save(f, labels.astype(k))) for k in (np.float64, np.float32)]


def aflw2000_files() -> dict[str, bytes]:
    from scipy.io import savemat

    arrays = {
        "Pose_Para": np.zeros((1, 7), np.float32),
        "Shape_Para": np.zeros((199, 1), np.float32),
        "Exp_Para": np.zeros((29, 1), np.float32),
        "pt3d_68": _rng().uniform(20, 140, (3, 68)),
    }
    return {"AFLW2000/image00002.mat": _saved(lambda f: savemat(f, arrays))}


def aflw_crops() -> list[bytes]:
    arrays: dict[str, Any] = {
        "names": np.array(["a", "b"]),
        "aflw2000_index": np.arange(2),
        "pts3d": _rng().uniform(20, 140, (2, 68, 3)).astype(np.float32),
    }
    return [_saved(lambda f: np.savez_compressed(f, **arrays))]


def _head() -> dict[str, np.ndarray]:
    """A head of 80 vertices in the form of the real model."""
    x, y = np.meshgrid(np.linspace(-7, 7, 10), np.linspace(-10, 10, 8))
    neutral = np.stack([x, y, 9 - (x**2 + y**2) / 20], -1).reshape(-1, 3)
    corner = np.arange(80).reshape(8, 10)
    faces = np.stack([corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]], -1)
    return {
        "neutral": neutral.astype(np.float32),
        "identity": 0.1 * _rng().normal(size=(2, 80, 3)).astype(np.float32),
        "expression": 0.1 * _rng().normal(size=(2, 80, 3)).astype(np.float32),
        "faces_v": faces.reshape(-1, 4).astype(np.int32),
        "idx_to_landmark_verts": np.arange(68),
    }


def head_model() -> list[bytes]:
    return [_saved(lambda f: np.savez(f, **_head()))]


@cache
def kit_files() -> dict[str, bytes]:
    import tempfile

    from tests.data.face_profiling.test_kit import EXPRESSIONS, write_kit

    with tempfile.TemporaryDirectory() as folder:
        write_kit(Path(folder), _head(), EXPRESSIONS)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def kit(name: str) -> list[bytes]:
    return [kit_files()[name]]


def results() -> list[bytes]:
    points = _points()
    arrays: dict[str, Any] = {
        "prediction": points + 1,
        "ground_truth": points,
        "visibility": np.full((2, 68), 2),
        "confidence": np.full((2, 68), 0.5, np.float32),
        "file_names": np.array(["a.jpg", "b.jpg"]),
        "subsets": np.array(["x", "x"]),
        "missed": np.array([], np.str_),
    }
    return [_saved(lambda f: np.savez_compressed(f, **arrays))]


@cache
def videos() -> list[bytes]:
    import tempfile

    from tests.video.clips import frame, mux_clip, write_clip

    with tempfile.TemporaryDirectory() as folder:
        paths = [
            write_clip(Path(folder) / f"clip{suffix}", 4) for suffix in (".mp4", ".avi", ".mkv")
        ]
        small = [frame(i, (32, 16)) for i in range(4)]
        times = [0.0, 0.04, 0.08, 0.12]
        paths.append(mux_clip(Path(folder) / "small.webm", times, "libvpx", images=small))
        return [path.read_bytes() for path in paths]


def labels_coco() -> list[bytes]:
    points = [10, 20, 2, 90, 21, 1, 50, 120, 2]
    faces = [
        {"image_id": 1, "category_id": 1, "keypoints": points, "bbox": [5, 10, 120, 130]},
        {"image_id": 2, "category_id": 1, "keypoints": [v + v % 2 for v in points]},
        {"image_id": 2, "face_kpts": [9.5, 8, 0.3] * 3, "face_box": [1, 2, 3, 4], "face_valid": 1},
    ]
    names = ["a.png", "b.png"]
    images = [
        {"id": i + 1, "file_name": n, "width": 160, "height": 160} for i, n in enumerate(names)
    ]
    category = {"id": 1, "keypoints": ["a", "b", "c"], "skeleton": [[1, 2], [2, 3]]}
    whole = {"images": images, "annotations": faces, "categories": [category]}
    return [json.dumps(whole).encode(), json.dumps(whole, indent=1).encode("utf-16")]


def labels_csv() -> list[bytes]:
    wide = ["file,x0,y0,x1,y1,x2,y2,v2,group", "a.png,10,20,90,21,50,120,1,u", "b.png,1,2,3,4,,,,"]
    named = ["image;nose_x;nose_y;chin_x;chin_y", "a.png;10.5;20;90;21", "b.png;1;2;150;44"]
    long = ["file,name,x,y,visibility", *(f"a.png,p{i},{i * 9},{i * i},2" for i in range(9))]
    bare = ["a.png,10,20,90,21,50,120", "b.png,11,20,90,21,50,120"]
    return [_text(rows) for rows in (wide, named, long, bare)]


def labels_cvat() -> list[bytes]:
    circle = "&lt;circle data-node-id=&quot;{}&quot; data-label-name=&quot;{}&quot;&gt;"
    svg = circle.format(1, "n") + circle.format(2, "c")
    meta = f"<meta><labels><label><name>f</name><svg>{svg}</svg></label></labels></meta>"
    skeleton = (
        '<skeleton label="f" group_id="1"><points label="n" points="9,8" occluded="1"/>'
        '<points label="c" points="99,120" outside="0"/></skeleton>'
        '<box xtl="1" ytl="2" xbr="150" ybr="140" group_id="1"/>'
    )
    points = '<points label="f" points="1,2;30,40;50,150"/>'

    def image(name: str, shapes: str) -> str:
        return f'<image name="{name}" width="160" height="160">\n{shapes}\n</image>'

    return [
        _text(["<annotations>", meta, image("a.png", skeleton), "</annotations>"]),
        _text(["<annotations>", image("a.png", points), image("b.png", points), "</annotations>"]),
    ]


def labels_dlib() -> list[bytes]:
    parts = [f"<part name='{i:02d}' x='{10 * i}' y='{i * i}'/>" for i in range(9)]
    box = ["<box top='1' left='2' width='140' height='150'>", *parts, "</box>"]
    image = [*(f"<image file='{name}.png'>" for name in "a"), *box, "</image>"]
    other = ["<image file='b.png'>", "<box top='1' left='1' width='9' height='9'/>", "</image>"]
    return [
        _text(["<?xml version='1.0'?>", "<dataset><images>", *image, *other, "</images></dataset>"])
    ]


def labels_labelme() -> list[bytes]:
    def shape(kind: str, *points: list[float], label: str = "n", group: int | None = None) -> Any:
        return {"label": label, "points": list(points), "shape_type": kind, "group_id": group}

    single = [
        shape("point", [9, 8]),
        shape("point", [99, 140.5], label="c"),
        shape("rectangle", [1, 2], [150, 155]),
    ]
    many = [shape("linestrip", [1, 2], [30, 40.5], [9, 150])]
    grouped = [shape("point", [i * 9, i * i], label=str(i % 4), group=i // 4) for i in range(12)]
    sizes = {"imageWidth": 160, "imageHeight": 160, "imageData": "AAAA", "version": "5.0"}
    return [
        json.dumps({"imagePath": "a.png", "shapes": shapes, **sizes}).encode()
        for shapes in (single, many, grouped)
    ]


def labels_label_studio() -> list[bytes]:
    size = {"original_width": 160, "original_height": 160}
    points = [
        {"type": "keypointlabels", "value": {"x": x, "y": y, "keypointlabels": [n]}, **size}
        for n, x, y in (("n", 10, 20.5), ("c", 80, 95))
    ]
    box = {"x": 1, "y": 2, "width": 97, "height": 96, "rectanglelabels": ["face"]}
    regions = [*points, {"type": "rectanglelabels", "id": "r", "value": box, **size}]
    tasks = [
        {"data": {"image": "/data/upload/1/0a1b2c3d-a.png"}, "annotations": [{"result": regions}]},
        {"data": {"image": "b.png"}, "annotations": [{"result": points}]},
    ]
    small = [{"image": "a.png", "kp": [{**p["value"], **size} for p in points]}]
    return [json.dumps(tasks).encode(), json.dumps(small).encode()]


def labels_txt_folder() -> list[bytes]:
    rows = [f"{i * 9}.5 {i * i}" for i in range(12)]
    return [
        _text(rows),
        _text(["12", *(row.replace(" ", ",") for row in rows)]),
        _text([f"{row} {i % 3}" for i, row in enumerate(rows)]),
        _text([" ".join(rows)]),
        _text(rows).decode().encode("utf-16"),
    ]


def _via() -> dict[str, Any]:
    def region(attributes: dict[str, str], **shape: Any) -> dict[str, Any]:
        return {"shape_attributes": shape, "region_attributes": attributes}

    regions = [
        region({"landmark": "n", "face": "1"}, name="point", cx=10, cy=20),
        region({"landmark": "c", "face": "1"}, name="point", cx=99, cy=140),
        region({"face": "1"}, name="rect", x=1, y=2, width=150, height=151),
    ]
    line = region({}, name="polyline", all_points_x=[1, 90], all_points_y=[2, 120])
    return {
        f"{name}9": {"filename": name, "size": 9, "regions": each, "file_attributes": {}}
        for name, each in (("a.png", regions), ("b.png", regions[:2]), ("c.png", [line]))
    }


def labels_via_json() -> list[bytes]:
    project = {"_via_settings": {"ui": {}}, "_via_img_metadata": _via()}
    return [json.dumps(value).encode() for value in (project, _via())]


def labels_via_csv() -> list[bytes]:
    rows = ["filename,file_size,region_shape_attributes,region_attributes"]
    for entry in _via().values():
        for region in entry["regions"]:
            cells = [json.dumps(value).replace('"', '""') for value in region.values()]
            rows.append(f'{entry["filename"]},9,"{cells[0]}","{cells[1]}"')
    return [_text(rows)]
