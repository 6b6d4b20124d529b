"""The ways to run and to train a network that `forward.py` compares, one process each.

    python benchmarks/forward_paths.py tf_function sat2_cab 1

prepares a way, then answers every number N on its standard input with the times of N calls in
milliseconds, as a JSON list. `forward.py` starts these processes and asks them in turn.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], Any]

# The backend that a way needs; the others take TensorFlow, which all converters need.
BACKENDS = {"jax": "jax", "train_jax": "jax", "train_torch": "torch"}


def _model(preset: str) -> Any:
    from keras_facealign.presets import from_preset

    return from_preset(preset, load_weights=preset.endswith("mobile"))


def _images(batch: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (batch, 128, 128, 3)).astype("float32")


def _last(outputs: Any) -> Any:
    return outputs[-1] if isinstance(outputs, (list, tuple)) else outputs


def _folded(preset: str) -> Any:
    from keras_facealign.networks.tracing import fold_batch_norm

    return fold_batch_norm(_model(preset))


# ---- inference ----------------------------------------------------------------------------------


def predict(preset: str, batch: int) -> Call:
    """`model.predict`, as a beginner would write it."""
    model, x = _model(preset), _images(batch)
    return lambda: model.predict(x, verbose=0)


def _tf_function(model: Any, batch: int, **options: Any) -> Call:
    import tensorflow as tf

    x = tf.constant(_images(batch))
    function = tf.function(lambda images: _last(model(images, training=False)), **options)
    return lambda: function(x).numpy()


def tf_function(preset: str, batch: int) -> Call:
    """`tf.function` around the model as it is."""
    return _tf_function(_model(preset), batch)


def tf_function_folded(preset: str, batch: int) -> Call:
    """`tf.function`, batch norm folded."""
    return _tf_function(_folded(preset), batch)


def xla(preset: str, batch: int) -> Call:
    """`tf.function` compiled by XLA, batch norm folded."""
    return _tf_function(_folded(preset), batch, jit_compile=True)


def jax(preset: str, batch: int) -> Call:
    """`jax.jit`, batch norm folded."""
    import jax as jax_module

    model, x = _folded(preset), _images(batch)
    state = [v.value for v in model.variables]
    count = len(model.trainable_variables)

    @jax_module.jit
    def function(values: list[Any], images: Any) -> Any:
        return _last(model.stateless_call(values[:count], values[count:], images)[0])

    return lambda: np.asarray(function(state, x))


def _frozen(preset: str, batch: int) -> Any:
    """The folded network as a TensorFlow function with constant weights."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    model = _folded(preset)
    signature = [tf.TensorSpec((batch, 128, 128, 3), name="images")]
    function = tf.function(lambda images: _last(model(images)), input_signature=signature)
    return convert_variables_to_constants_v2(function.get_concrete_function())


def litert(preset: str, batch: int) -> Call:
    """LiteRT (TFLite) in float32 with XNNPACK, batch norm folded."""
    import tensorflow as tf

    from keras_facealign.runtimes.litert import find_interpreter

    converter = tf.lite.TFLiteConverter.from_concrete_functions([_frozen(preset, batch)])
    content = converter.convert()
    interpreter = find_interpreter()(model_content=content, num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    x = _images(batch)

    def call() -> np.ndarray:
        interpreter.set_tensor(source, x)
        interpreter.invoke()
        return interpreter.get_tensor(result)

    return call


def onnxruntime(preset: str, batch: int) -> Call:
    """ONNX Runtime in float32, batch norm folded."""
    import onnxruntime as ort
    import tensorflow as tf
    import tf2onnx

    model = _folded(preset)
    signature = [tf.TensorSpec((batch, 128, 128, 3), name="images")]
    function = tf.function(lambda images: _last(model(images)), input_signature=signature)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "model.onnx"))
        tf2onnx.convert.from_function(function, signature, opset=17, output_path=path)
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = _images(batch)
    return lambda: session.run(None, {"images": x})


def _openvino(preset: str, batch: int, precision: str) -> Call:
    from keras_facealign.runtimes.openvino import OpenVINONetwork

    network, x = OpenVINONetwork(_model(preset), precision), _images(batch)
    return lambda: network(x)


def openvino(preset: str, batch: int) -> Call:
    """OpenVINO in float32, batch norm folded: what `FaceAligner` runs on."""
    return _openvino(preset, batch, "float32")


def openvino_bfloat16(preset: str, batch: int) -> Call:
    """OpenVINO with 70 % of the multiplications in bfloat16, batch norm folded."""
    return _openvino(preset, batch, "bfloat16")


def aligner(preset: str, batch: int) -> Call:
    """`FaceAligner` with given boxes: crops, network and landmarks, of a 512 x 512 photo."""
    from skimage.data import astronaut

    from keras_facealign import FaceAligner

    aligner, photo = FaceAligner(_model(preset), detector=None), astronaut()
    boxes = [(170.0, 80.0, 270.0, 200.0)] * batch
    return lambda: aligner.align(photo, boxes)


# ---- the machine --------------------------------------------------------------------------------

_SIDE = 2048
MATMUL_GFLOP = 2e-9 * _SIDE**3


def _matrices() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(_SIDE, _SIDE)).astype("float32") for _ in range(2)]


def matmul_numpy(preset: str, batch: int) -> Call:
    """2048 x 2048 matrices by NumPy."""
    a, b = _matrices()
    return lambda: a @ b


def _matmul_tensorflow(dtype: str) -> Call:
    import tensorflow as tf

    a, b = (tf.constant(m, dtype) for m in _matrices())
    # One number is read back, so that the call waits for the product and little else.
    return lambda: tf.matmul(a, b)[0, 0].numpy()


def matmul_tensorflow(preset: str, batch: int) -> Call:
    """2048 x 2048 matrices by TensorFlow."""
    return _matmul_tensorflow("float32")


def matmul_tensorflow_bfloat16(preset: str, batch: int) -> Call:
    """2048 x 2048 matrices in bfloat16 by TensorFlow."""
    return _matmul_tensorflow("bfloat16")


def matmul_openvino(preset: str, batch: int) -> Call:
    """2048 x 2048 matrices by OpenVINO."""
    import openvino as ov
    from openvino import opset13 as op

    a, b = _matrices()
    left = op.parameter(list(a.shape), np.float32)
    # A constant on the right, as the weights of a network are.
    product = op.result(op.matmul(left, op.constant(b), False, False))
    model = ov.Model([product], [left], "matmul")  # pyright: ignore[reportGeneralTypeIssues]
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    return lambda: request.infer([a], share_inputs=True, share_outputs=True)


# ---- training -----------------------------------------------------------------------------------


def _train(preset: str, batch: int, jit: bool) -> Call:
    model = _model(preset)
    model.compile("adam", jit_compile=jit)
    rng = np.random.default_rng(0)
    data = {
        "image": rng.integers(0, 256, (batch, 192, 192, 3)).astype("uint8"),
        "landmarks": rng.uniform(50, 140, (batch, 68, 2)).astype("float32"),
        "visibility": np.full((batch, 68), 2, "float32"),
    }
    return lambda: model.train_on_batch(data)


def train_tf_graph(preset: str, batch: int) -> Call:
    """A training step in TensorFlow's graph mode."""
    return _train(preset, batch, jit=False)


def train_tf_jit(preset: str, batch: int) -> Call:
    """A training step compiled by XLA."""
    return _train(preset, batch, jit=True)


def train_jax(preset: str, batch: int) -> Call:
    """A training step on JAX."""
    return _train(preset, batch, jit=True)


def train_torch(preset: str, batch: int) -> Call:
    """A training step on PyTorch."""
    return _train(preset, batch, jit=False)


_INFERENCE = (
    predict, tf_function, tf_function_folded, xla, jax, litert, onnxruntime, openvino,
    openvino_bfloat16, aligner,
)  # fmt: skip
_MATMULS = (matmul_numpy, matmul_tensorflow, matmul_openvino, matmul_tensorflow_bfloat16)
_TRAINING = (train_tf_graph, train_tf_jit, train_jax, train_torch)
INFERENCE, MATMULS, TRAINING = (
    {function.__name__: function for function in group}
    for group in (_INFERENCE, _MATMULS, _TRAINING)
)


def main() -> None:
    name, preset, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    os.environ["KERAS_BACKEND"] = BACKENDS.get(name, "tensorflow")
    # Libraries print as they please; the answers go where nothing else does.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        call = {**INFERENCE, **MATMULS, **TRAINING}[name](preset, batch)
        call()
        call()
    except ImportError as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
        return
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        call()  # wakes up threads that went to sleep
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - start))
        print(json.dumps(times), file=answers, flush=True)


if __name__ == "__main__":
    main()
