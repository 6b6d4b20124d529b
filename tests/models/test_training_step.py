"""Training steps on whichever backend runs: they learn, agree with each other, and can be saved."""

from __future__ import annotations

import json
import os

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import nme
from keras_facealign.models import FaceAlignModel
from keras_facealign.objective import Pair, TransformRange
from tests.models import golden
from tests.models.tiny import (
    CROP,
    JIT,
    SIZE,
    Batches,
    as_numpy,
    faces,
    fix_weights,
    some_hidden,
    tiny_model,
)

BACKEND = keras.backend.backend()
GENTLE = {"base": {"rotation": 10, "translation": 0.02}, "pair": {"rotation": 10}, "seed": 5}


def ready(epochs_of=8):
    """A model ready to learn, and batches for it."""
    keras.utils.set_random_seed(1)
    model = tiny_model(head_prior=0.02)
    model.compile(
        keras.optimizers.Adam(1e-2), foreground_weight=9, augmentation=GENTLE, jit_compile=JIT
    )
    return model, Batches(*(faces(4, seed) for seed in range(epochs_of)))


def statistics(model):
    return {v.path: as_numpy(v) for v in model.weights if "moving" in v.path}


def seed_state(model):
    return as_numpy(model.augmentation.seed_generator.state)


@pytest.fixture(scope="module")
def trained():
    """The model after 48 steps, its history, and what it was before."""
    model, batches = ready()
    before = {**statistics(model), "seed": seed_state(model)}
    history = model.fit(batches, validation_data=Batches(faces(8, 99)), epochs=6, verbose=0)
    return model, history.history, before


# ---- learning -------------------------------------------------------------------------------


def test_learns_to_find_landmarks(trained):
    _, history, _ = trained
    training = {"loss", "heatmap_loss", "coherent_loss", "nme"}
    # No second view in validation, so no word on how coherent it is.
    assert set(history) == training | {"val_loss", "val_heatmap_loss", "val_nme"}
    for name, values in history.items():
        assert len(values) == 6
        assert values[-1] < 0.7 * values[0], name
    assert history["val_nme"][0] > 15
    assert history["val_nme"][-1] < 8


def test_all_state_advances(trained):
    model, _, before = trained
    assert int(as_numpy(model.optimizer.iterations)) == 48
    assert (seed_state(model) != before["seed"]).any()
    after = statistics(model)
    assert after
    for path, values in after.items():
        assert (values != before[path]).mean() > 0.9, path
        assert np.isfinite(values).all()


def test_equal_seeds_give_equal_losses(trained):
    model, batches = ready()
    step, calls = model.train_step, []
    model.train_step = lambda *args: calls.append(len(calls)) or step(*args)
    history = model.fit(batches, verbose=0).history
    if keras.backend.backend() == "tensorflow":
        assert len(calls) == 1  # traced once, although the optimizer was not built
    for name, values in history.items():
        assert values[0] == pytest.approx(trained[1][name][0], rel=1e-3), name


def test_seed_decides_the_pair():
    model, batch = tiny_model(), faces(2)
    drawn = []
    for seed in (1, 1, 2):
        model.compile("sgd", augmentation={"seed": seed})
        pairs = [model.make_views(batch) for _ in range(2)]
        drawn.append([as_numpy(pair.matrix) for pair in pairs])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0][0] - drawn[0][1]).max() > 0.01
    assert np.abs(drawn[0][0] - drawn[2][0]).max() > 0.01


def test_pair_transformation_moves_the_first_view_to_the_second():
    model, batch = tiny_model(), faces(8)
    model.compile("sgd")
    pair = model.make_views(batch)
    matrix, flip = as_numpy(pair.matrix), as_numpy(pair.flip)
    assert 0 < flip.sum() < 8
    for i in range(8):
        points = as_numpy(pair.first.landmarks)[i] @ matrix[i, :, :2].T + matrix[i, :, 2]
        if flip[i]:
            points = points[model.scheme.flip_permutation]
        np.testing.assert_allclose(as_numpy(pair.second.landmarks)[i], points, atol=1e-3)


# ---- the same on all backends ---------------------------------------------------------------


@pytest.fixture(scope="module")
def stored():
    with np.load(golden.FILE) as arrays:
        return dict(arrays)


def test_outputs_are_those_stored(stored):
    outputs = golden.outputs()
    np.testing.assert_allclose(outputs["heatmaps"], stored["heatmaps"], atol=1e-4)
    np.testing.assert_allclose(outputs["landmarks"], stored["landmarks"], atol=1e-3)


def test_loss_of_a_pair_is_that_stored(stored):
    losses = golden.losses()
    assert set(losses) == {"loss", "heatmap_loss", "coherent_loss", "landmark_loss"}
    for name, value in losses.items():
        assert value == pytest.approx(float(stored[f"loss/{name}"]), rel=1e-4), name


@pytest.mark.parametrize("jit_compile", [False, True])
def test_one_step_changes_the_weights_as_stored(stored, jit_compile):
    if BACKEND == "torch" and jit_compile and "KERAS_FACEALIGN_TORCH_COMPILE" not in os.environ:
        pytest.skip("torch.compile takes minutes; set KERAS_FACEALIGN_TORCH_COMPILE=1 to run it")
    changes, logs = golden.step(jit_compile)
    assert len(changes) == sum(name.startswith("change/") for name in stored)
    for path, change in changes.items():
        expected = stored[f"change/{path}"]
        # Rounding differs between processors. Images changed by 2e-7 of their values change the
        # weights' steps by 3e-5 of the largest as a rule, and by 6e-3 where an activation crosses a
        # ReLU's zero.
        np.testing.assert_allclose(
            change, expected, rtol=0, atol=0.02 * np.abs(expected).max() + 1e-6, err_msg=path
        )
    for name, value in logs.items():
        assert value == pytest.approx(float(stored[f"log/{name}"]), rel=1e-3), name


# ---- a step of one's own --------------------------------------------------------------------


class Doubled(FaceAlignModel):
    """Minimizes twice the loss, and counts its steps' tracings."""

    traced = 0

    def train_step(self, *args):
        self.traced += 1
        return super().train_step(*args)

    def pair_loss(self, pair, first, second):
        terms = super().pair_loss(pair, first, second)
        return {**terms, "loss": 2 * terms["heatmap_loss"]}


def test_a_subclass_changes_the_loss_and_the_step():
    model = fix_weights(tiny_model(cls=Doubled))
    model.compile("sgd", jit_compile=JIT)
    logs = model.train_on_batch(faces(2), return_dict=True)
    assert logs["loss"] == pytest.approx(2 * logs["heatmap_loss"], rel=1e-5)
    assert model.traced >= 1


# ---- validation -----------------------------------------------------------------------------


def test_evaluation_reports_the_error_on_the_middle_of_the_crop(trained):
    model = trained[0]
    batches = [some_hidden(faces(3, 7)), faces(1, 8)]
    for batch in batches:
        # Both eye corners are needed to measure by.
        batch["visibility"][:, [36, 45]] = 1
        batch["landmarks"][:, [36, 45]] = np.nan_to_num(batch["landmarks"][:, [36, 45]], nan=20)
    logs = model.evaluate(Batches(*batches), return_dict=True, verbose=0)
    assert set(logs) == {"loss", "heatmap_loss", "nme"}
    errors = []
    for batch in batches:
        found, _ = model.predict_landmarks(golden.center_crops(batch["image"]))
        truth = batch["landmarks"] - (CROP - SIZE) / 2
        errors.extend(nme(found, truth, "inter_ocular", batch["visibility"]))
    assert float(logs["nme"]) == pytest.approx(np.mean(errors), rel=1e-3)


def test_the_reported_error_is_divided_by_what_compile_says():
    model = fix_weights(tiny_model())
    model.compile("sgd", nme_normalizer="box_size")
    batch = faces(2, 7)
    logs = model.evaluate(Batches(batch), return_dict=True, verbose=0)
    found, _ = model.predict_landmarks(golden.center_crops(batch["image"]))
    truth = batch["landmarks"] - (CROP - SIZE) / 2
    errors = nme(found, truth, "box_size", batch["visibility"])
    assert float(logs["nme"]) == pytest.approx(np.mean(errors), rel=1e-3)


# ---- saving ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_graphs")
def test_saved_model_goes_on_as_if_never_saved(tmp_path):
    model = fix_weights(tiny_model(stacks=2))
    settings = {"base": TransformRange(rotation=20), "pair": {"scale": [0.9, 1.1]}, "color": 0.1}
    model.compile(
        keras.optimizers.Adam(1e-3),
        coherent_weight=0.01,
        sigma=1.2,
        landmark_weight=0.1,
        nme_normalizer="box_diagonal",
        jit_compile=JIT,
        augmentation=settings,
    )
    model.train_on_batch(faces(2, 1))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert type(loaded) is FaceAlignModel
    assert loaded.architecture == model.architecture
    assert loaded.augmentation.get_config() == model.augmentation.get_config()
    configs = [json.dumps(m.get_compile_config()) for m in (model, loaded)]
    assert configs[0] == configs[1]
    assert loaded._training.sigma == 1.2
    assert loaded._nme_tracker.normalizer == "box_diagonal"
    assert loaded.jit_compile is JIT
    images = golden.center_crops(faces(2)["image"])
    for a, b in zip(model(images), loaded(images), strict=True):
        np.testing.assert_allclose(as_numpy(a), as_numpy(b), atol=1e-5)
    np.testing.assert_array_equal(seed_state(model), seed_state(loaded))
    for a, b in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b), err_msg=a.path)

    for m in (model, loaded):
        m.reset_metrics()  # the first model's would go on averaging over its earlier batch
    logs = [m.train_on_batch(faces(2, 2), return_dict=True) for m in (model, loaded)]
    assert float(logs[0]["loss"]) == pytest.approx(float(logs[1]["loss"]), rel=1e-4)
    for a, b in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(as_numpy(a), as_numpy(b), atol=1e-3)


# ---- reduced precision ----------------------------------------------------------------------


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_reduced_precision_keeps_heatmaps_and_weights_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = fix_weights(tiny_model())
        model.compile("sgd", jit_compile=BACKEND == "jax", augmentation={"seed": 3})
        scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        assert scaled == (policy == "mixed_float16")
        kernel = model.get_layer("heatmap").kernel
        before = as_numpy(kernel)
        logs = model.train_on_batch(faces(2), return_dict=True)
        heatmaps = model(golden.center_crops(faces(2)["image"]))[0]
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(heatmaps.dtype) == "float32"
    assert keras.backend.standardize_dtype(kernel.dtype) == "float32"
    assert model.get_layer("conv0").compute_dtype == policy.removeprefix("mixed_")
    assert np.isfinite(list(logs.values())).all()
    change = as_numpy(kernel) - before
    # A step of SGD at 0.01 that forgot to divide by the loss scale of 32768 would be huge.
    assert 0 < np.abs(change).max() < 0.1


# ---- bad input ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refusing():
    """A compiled model that sees bad batches only, which do not change it."""
    model = tiny_model()
    model.compile("sgd", jit_compile=False)
    return model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: (b["image"], b["landmarks"]), "must be a dict.*got tuple"),
        (lambda b: {"image": b["image"]}, r"must be a dict.*got \['image'\]"),
        (lambda b: {**b, "image": b["image"][:, :40]}, r"\(2, 40, 48, 3\).*side, side"),
        (lambda b: {**b, "image": b["image"][..., :1]}, r"\(2, 48, 48, 1\)"),
        (lambda b: {**b, "image": b["image"][:, :16, :16]}, "side 16.*32"),
        (lambda b: {**b, "landmarks": b["landmarks"][:, :29]}, r"\(2, 29, 2\).*68"),
        (lambda b: {**b, "landmarks": b["landmarks"][..., :1]}, r"\(2, 68, 1\).*68"),
        (lambda b: {**b, "visibility": b["visibility"][:, 0]}, r"68, 2.*visibility.*\(2,\)"),
    ],
)
def test_batches_that_cannot_be_trained_on(refusing, change, message):
    for step in (refusing.train_on_batch, refusing.test_on_batch):
        with pytest.raises(FaceAlignError, match=message):
            step(change(faces(2)))


def test_fit_names_what_is_wrong_with_a_batch():
    model = tiny_model()
    model.compile("sgd")
    small = {**faces(2), "image": np.zeros((2, 16, 16, 3), "uint8")}
    with pytest.raises(FaceAlignError, match="side 16"):
        model.fit(Batches(small), verbose=0)


# ---- order of batches -----------------------------------------------------------------------


def some_examples(count):
    batch = faces(count)
    box = np.array([6, 6, CROP - 6, CROP - 6], np.float32)
    return [
        {**{name: v[i] for name, v in batch.items()}, "box": box, "file_name": f"{i}.png"}
        for i in range(count)
    ]


def sources(folder):
    """Makes the batches of each kind, shuffled."""
    from keras_facealign.data import FaceBatches, LazyFaceBatches, PackedFaces, pack
    from keras_facealign.data.batches import BoxJitter, as_tf_dataset

    examples, settings = some_examples(7), {"batch_size": 2, "shuffle": True, "seed": 3}
    drawn = {**settings, "input_size": SIZE, "jitter": BoxJitter()}
    pack(examples, folder / "some.npz", 95, CROP, SIZE)
    return {
        "in memory": lambda: FaceBatches(examples, **drawn),
        "lazy": lambda: LazyFaceBatches(examples, **drawn),
        "lazy, read ahead": lambda: LazyFaceBatches(examples, workers=2, **drawn),
        "packed": lambda: PackedFaces(folder / "some.npz", **settings),
        "tf.data": lambda: as_tf_dataset(FaceBatches(examples, **drawn)),
    }


class Seen(keras.callbacks.Callback):
    """Notes the mean position of each batch's landmarks, by epoch."""

    def __init__(self):
        super().__init__()
        self.epochs = {}

    def on_epoch_begin(self, epoch, logs=None):
        self.found = self.epochs.setdefault(epoch, [])

    def on_train_batch_end(self, batch, logs=None):
        self.found.append(round(float(logs["position"]), 3))


class Passing(FaceAlignModel):
    """Learns nothing, and reports what it is given."""

    def train_step(self, data):
        return {"position": keras.ops.mean(data["landmarks"])}


@pytest.mark.skipif(BACKEND != "tensorflow", reason="this train_step is TensorFlow's")
@pytest.mark.parametrize("kind", ["in memory", "lazy", "lazy, read ahead", "packed", "tf.data"])
def test_the_order_depends_on_seed_and_epoch_alone(kind, tmp_path):
    make = sources(tmp_path)[kind]
    model = tiny_model(cls=Passing)
    model.compile("sgd", jit_compile=False)

    def fit(seed, first, *callbacks, **options):
        keras.utils.set_random_seed(seed)  # Keras shuffles with Python's random numbers
        seen = Seen()
        given = [*callbacks, seen]
        model.fit(make(), epochs=4, initial_epoch=first, verbose=0, callbacks=given, **options)
        return seen.epochs

    whole = fit(1, 0)
    assert [len(found) for found in whole.values()] == [3, 3, 3, 3]
    assert len({tuple(found) for found in whole.values()}) == 4
    assert fit(2, 0, shuffle=True) == whole
    assert fit(5, 2) == {epoch: whole[epoch] for epoch in (2, 3)}

    # The batches' own rule, written out.
    batches = make()
    if kind != "tf.data":
        for epoch, found in whole.items():
            batches.start_at(epoch)
            expected = [batches[i]["landmarks"].mean() for i in range(3)]
            np.testing.assert_allclose(found, expected, atol=1e-3)
    else:
        for epoch, found in whole.items():
            expected = [batch["landmarks"].mean() for batch in batches.as_numpy_iterator()]
            np.testing.assert_allclose(found, expected, atol=1e-3, err_msg=str(epoch))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="this train_step is TensorFlow's")
def test_keras_callbacks_come_in_every_form(tmp_path):
    model = tiny_model(cls=Passing)
    model.compile("sgd", jit_compile=False)
    make, found = sources(tmp_path)["in memory"], []
    seen = Seen()
    for callbacks in (seen, (seen,), keras.callbacks.CallbackList([seen], model=model)):
        seen.epochs = {}
        model.fit(make(), None, 2, 2, 0, callbacks)
        found.append(dict(seen.epochs))
    assert found[0] == found[1] == found[2] and len(found[0][1]) == 3
    assert model.fit(make(), verbose=0, callbacks=None).history["position"]


# ---- values of batches ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("visibility", 7, "The batch: the visibility of landmark 3 of face 1 is 7.0"),
        ("visibility", -1, "is -1.0; it must be 0"),
        ("visibility", np.nan, "is nan; it must be 0"),
        ("landmarks", np.inf, "landmark 3 of face 1 has visibility 2.0 but is not finite"),
        ("landmarks", np.nan, "is not finite"),
        ("image", np.nan, "image has values from nan"),
        ("image", 300.0, "image has values from 0.0 to 300.0; give RGB from 0 to 255"),
        ("image", -1.0, "image has values from -1.0"),
    ],
)
def test_values_that_cannot_be_are_named_before_the_step(refusing, method, name, value, message):
    batch = faces(2)
    batch["image"] = batch["image"].astype("float32")
    batch["image"][0, 0, 0, 0] = 0.0
    batch[name][1, 3] = value
    with pytest.raises(FaceAlignError, match=message):
        getattr(refusing, method)(batch)


def test_images_of_another_range_or_dtype_are_refused():
    model = tiny_model()
    model.compile("sgd", jit_compile=False)
    batch = faces(2)
    for image, message in (
        (batch["image"].astype("float32") / 255, "image has values from 0 to 1; multiply by 255"),
        (batch["image"].astype("int32"), "image is int32; give uint8 or float"),
        (batch["image"] > 128, "image is bool; give uint8 or float"),
        (batch["image"][:1], "1 images, 2 faces' landmarks"),
        (batch["image"][:0], "0 images"),
    ):
        with pytest.raises(FaceAlignError, match=message):
            model.train_on_batch({**batch, "image": image})
    bad = {**batch, "visibility": batch["visibility"] + 5}
    with pytest.raises(FaceAlignError, match="is 7.0"):
        model.fit(Batches(batch), validation_data=bad, verbose=0)


# ---- batches that are filled up ----------------------------------------------------------------


@pytest.mark.parametrize("coherent", ["paper", "flip"])
def test_faces_that_fill_up_a_batch_change_no_loss(coherent):
    model, _ = ready()
    model.compile("sgd", coherent=coherent, landmark_weight=0.1)
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(4, 16, 16, 68)).astype("float32") for _ in range(2)]
    batch = some_hidden(faces(4))
    batch["visibility"][3] = 0
    filled = {**batch, "present": np.array([1, 1, 1, 0], "float32")}
    losses = []
    for count, given in ((3, {k: v[:3] for k, v in batch.items()}), (4, batch), (4, filled)):
        views = [
            model.augmentation.view(
                {name: keras.ops.convert_to_tensor(v) for name, v in given.items()},
                model.augmentation.centering(CROP),
                keras.ops.zeros((count,)),
            )
            for _ in range(2)
        ]
        same = np.tile(np.eye(2, 3, dtype="float32"), (count, 1, 1))
        pair = Pair(*views, keras.ops.convert_to_tensor(same), keras.ops.zeros((count,)))
        parts = [[keras.ops.convert_to_tensor(m[:count])] for m in maps]
        losses.append({k: float(v) for k, v in model.pair_loss(pair, *parts).items()})
    three, unlabeled, present = losses
    assert present == pytest.approx(three, rel=1e-5)
    # An unlabeled face counts: its views have to agree.
    assert abs(unlabeled["coherent_loss"] / three["coherent_loss"] - 1) > 1e-4


def test_faces_that_fill_up_a_batch_do_not_count_in_evaluation():
    model, _ = ready()
    three = {name: v[:3] for name, v in faces(4).items()}
    filled = {**faces(4), "present": np.array([1, 1, 1, 0], "float32")}
    filled["visibility"][3] = 0
    more = faces(4, 7)
    all_present = {**more, "present": np.ones(4, "float32")}
    expected = model.evaluate(Batches(more, three), return_dict=True, verbose=0)
    found = model.evaluate(Batches(all_present, filled), return_dict=True, verbose=0)
    assert found == pytest.approx(expected, rel=1e-4)
