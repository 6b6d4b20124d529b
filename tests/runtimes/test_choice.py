"""Another runtime gives the landmarks that the Keras model gives, and says when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.runtimes import RUNTIMES, choose_runtime
from tests.export.networks import heatmaps, images, network, relative_error
from tests.inference.dots import DotModel


def test_a_model_of_another_kind_runs_as_it_is():
    model = DotModel()
    crops = np.zeros((2, model.input_size, model.input_size, 3), np.uint8)
    for runtime in ("auto", "keras"):
        name, network = choose_runtime(model, runtime)
        landmarks, confidence = model.predict_landmarks(crops, 2)
        outputs = network.predict_outputs(crops)
        assert (name, set(outputs)) == ("keras", {"landmarks", "confidence"})
        np.testing.assert_array_equal(outputs["landmarks"], landmarks)
        np.testing.assert_array_equal(outputs["confidence"], confidence)
    with pytest.raises(FaceAlignError, match="DotModel is not a FaceAlignModel"):
        choose_runtime(model, "openvino")
    with pytest.raises(FaceAlignError, match="Unknown runtime 'tpu'"):
        choose_runtime(model, "tpu")


def test_without_openvino_keras_takes_over(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    model = network()
    assert choose_runtime(model, "auto") == ("keras", model)
    for name in ("openvino", "openvino_bfloat16"):
        with pytest.raises(FaceAlignError, match=f"runtime='{name}' needs OpenVINO"):
            choose_runtime(model, name)


def test_on_a_gpu_keras_is_taken(monkeypatch):
    if keras.backend.backend() == "torch":
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    else:
        monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: [f"{kind}:0"])
    model = network()
    assert choose_runtime(model, "auto") == ("keras", model)


class TestOpenVINO:
    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("openvino", reason="openvino is not installed")

    @pytest.mark.parametrize(
        "fields",
        [
            {"topology": "sat", "depth": 3, "stacks": 2},
            {"topology": "hourglass", "block": "hpm", "stem": "light"},
            {"topology": "hourglass", "block": "inception", "input_size": 64},
            {"topology": "sat_ii", "variant": "dfa", "depth": 2},
        ],
        ids=lambda fields: "-".join(str(v) for v in fields.values()),
    )
    def test_heatmaps_are_those_of_keras(self, fields):
        from keras_facealign.runtimes.openvino import OpenVINONetwork

        model = network(**fields)
        batch = images(3, model.input_size)
        found = OpenVINONetwork(model)(batch)
        expected = heatmaps(model, batch)[-1]
        assert found.shape == expected.shape
        assert relative_error(found, expected) < 1e-5

    @pytest.mark.parametrize("count", [0, 1, 7, 8, 17])
    def test_any_number_of_faces_and_every_way_to_give_them(self, count):
        model = network()
        name, runner = choose_runtime(model, "openvino")
        assert name == "openvino"
        batch = images(17)[:count].astype("uint8")
        outputs = runner.predict_outputs(batch)
        points, confidence = outputs["landmarks"], outputs["confidence"]
        expected = model.predict_landmarks(batch)
        assert points.shape == (count, 68, 2) and confidence.shape == (count, 68)
        # Untrained maps have several near-equal peaks, of which rounding picks one.
        near = np.abs(points - expected[0]).max(axis=-1) < 0.01
        assert near.size == 0 or near.mean() > 0.98
        np.testing.assert_allclose(confidence, expected[1], atol=1e-5)

    def test_two_answers_do_not_share_memory(self):
        from keras_facealign.runtimes.openvino import OpenVINONetwork

        net = OpenVINONetwork(network())
        first = net(images(1))
        kept = first.copy()
        net(images(2)[1:])
        np.testing.assert_array_equal(first, kept)

    def test_auto_takes_it_and_falls_back_where_it_cannot(self):
        assert choose_runtime(network(), "auto")[0] == "openvino"
        deformable = network(deformable="both")
        assert choose_runtime(deformable, "auto") == ("keras", deformable)
        with pytest.raises(FaceAlignError):
            choose_runtime(deformable, "openvino")

    def test_bfloat16_is_near_float32_and_not_it(self):
        from keras_facealign.runtimes.openvino import OpenVINONetwork, has_bfloat16

        model = network(depth=3)
        if not has_bfloat16():
            with pytest.raises(FaceAlignError, match="AVX512_BF16"):
                OpenVINONetwork(model, "bfloat16")
            return
        error = relative_error(
            OpenVINONetwork(model, "bfloat16")(images(2)), OpenVINONetwork(model)(images(2))
        )
        assert 1e-5 < error < 0.05

    def test_kernels_are_rounded_so_that_their_sums_hardly_move(self):
        from keras_facealign.runtimes.openvino import _round_taps

        kernel = np.random.default_rng(2).normal(size=(40, 30, 3, 3)).astype("float32")
        rounded = _round_taps(kernel)
        assert not np.any(rounded.view(np.uint32) & 0xFFFF)
        # bfloat16 keeps eight bits; a tap carries at most the error of another one besides its own.
        largest = np.abs(kernel).max(axis=(2, 3))
        assert (np.abs(rounded - kernel).max(axis=(2, 3)) < largest / 2**7).all()
        error = np.abs(rounded.sum(axis=(2, 3)) - kernel.sum(axis=(2, 3)))
        truncated = (kernel.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        plain = np.abs(truncated.sum(axis=(2, 3)) - kernel.sum(axis=(2, 3)))
        assert error.mean() < plain.mean() / 4

    def test_a_signal_when_two_networks_have_come_and_gone(self):
        # OpenVINO would leave the thread with a stack for signals that is no longer there.
        code = """
            import gc, os, signal
            import keras
            from keras_facealign.runtimes.openvino import OpenVINONetwork
            image = keras.Input((8, 8, 3))
            model = keras.Model(image, keras.layers.Conv2D(2, 3)(image))
            networks = [OpenVINONetwork(model) for _ in range(2)]
            while networks:
                del networks[0]
                gc.collect()
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                os._exit(7)
        """
        run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
        assert run.returncode == 7

    def test_unknown_precision(self):
        from keras_facealign.runtimes.openvino import OpenVINONetwork

        with pytest.raises(FaceAlignError, match="'int4'"):
            OpenVINONetwork(network(), "int4")

    @pytest.mark.parametrize("runtime", [name for name in RUNTIMES if "openvino" in name])
    def test_landmarks_of_real_faces_stay_where_they_are(self, runtime):
        folder = os.environ.get("KERAS_FACEALIGN_DATA")
        if not folder:
            pytest.skip("KERAS_FACEALIGN_DATA is unset")
        from keras_facealign.data.images import read_image
        from keras_facealign.data.pts import read_pts
        from keras_facealign.geometry import crop_face, crop_matrix, landmarks_box
        from keras_facealign.presets import from_preset
        from keras_facealign.runtimes.openvino import has_bfloat16

        if "bfloat16" in runtime and not has_bfloat16():
            pytest.skip("this processor lacks AVX512_BF16")
        crops = []
        for path in sorted(Path(folder, "300w/lfpw/testset").glob("*.pts")):
            matrix = crop_matrix(landmarks_box(*read_pts(path)), 128)
            crops.append(crop_face(read_image(path.with_suffix(".jpg")), matrix, 128))
        assert len(crops) > 200
        model = from_preset("sat1_cab_mobile")
        expected, _ = model.predict_landmarks(np.stack(crops))
        found, _ = choose_runtime(model, runtime)[1].predict_landmarks(np.stack(crops))
        moved = np.linalg.norm(found - expected, axis=-1)
        assert moved.mean() < (0.02 if "bfloat16" in runtime else 1e-4)
