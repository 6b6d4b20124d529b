"""Networks are run on images of their own size before the process that wants them does."""

from __future__ import annotations

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.runtimes import trial

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(autouse=True)
def limits(monkeypatch):
    """The limits are for a process of its own, not for that of the tests."""
    found = []
    monkeypatch.setattr(trial, "limit_process", found.append)
    return found


def network(shape: list[int | str], op: str = "ReduceMax") -> bytes:
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    node = helper.make_node(op, ["images"], ["out"])
    graph = helper.make_graph([node], "g", [image], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


@pytest.mark.parametrize("shape", [["n", 8, 8, 3], [2, 8, "side", 3]])
def test_a_network_runs_within_limits(shape, limits):
    content = network(shape)
    trial.run(content, "f.onnx", "onnx")
    assert limits == [len(content)]


@pytest.mark.parametrize(
    "content, message",
    [
        (network([1, 9000, 9000, 3]), r"its input of the shape \[1, 9000, 9000, 3\] is too large"),
        (
            network(["n", 1500, 1500, 3]),
            r"its input of the shape \[8, 1500, 1500, 3\] is too large",
        ),
        (network([1, 8, 8, 3], "NoSuchOperator"), "cannot be run as an ONNX model"),
        (b"no network", "cannot be run as an ONNX model"),
    ],
    ids=["size", "batch", "operator", "text"],
)
def test_others_are_refused(content, message):
    with pytest.raises(FaceAlignError, match=rf"f\.onnx: {message}"):
        trial.run(content, "f.onnx", "onnx")


def test_what_only_running_shows_is_an_error():
    """A shape that does not fit: the runtime's own error, which the other process reports."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 8, 8, 3])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    shape = numpy_helper.from_array(np.array([7, 7]), "shape")
    node = helper.make_node("Reshape", ["images", "shape"], ["out"])
    graph = helper.make_graph([node], "g", [image], [out], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    with pytest.raises(Exception, match="reshape|Reshape"):
        trial.run(model.SerializeToString(), "f.onnx", "onnx")
