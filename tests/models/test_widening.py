"""Grown networks compute what the trained one did, or keep its weights, and go on learning."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.models import (
    DenseUNetFaceAlign,
    FaceAlignModel,
    SATFaceAlign,
    deepen,
    make_deformable,
    rescale,
    widen,
)
from keras_facealign.networks import Architecture
from tests.models.tiny import JIT, MAP, SIZE, as_numpy, faces, fix_weights
from tests.paths import ROOT

LIGHT = {"topology": "sat", "stacks": 1, "depth": 1, "width": 0.0625, "stem": "light"}


def unset(**fields):
    """A network as it is built."""
    return FaceAlignModel(Architecture(**{**LIGHT, "input_size": SIZE, "map_size": MAP, **fields}))


def network(**fields):
    """A network with weights and batch-norm statistics drawn at random."""
    return fix_weights(unset(**fields))


def logits(model):
    images = np.random.default_rng(5).integers(0, 256, (2, SIZE, SIZE, 3)).astype("float32")
    return [as_numpy(maps) for maps in model(images, training=False)]


def assert_same(new, old):
    """The heatmaps of the new network are the old one's, up to the rounding of float32."""
    assert old.std() > 0.05  # or there would be nothing to keep
    np.testing.assert_allclose(new, old, atol=1e-4 * max(1.0, float(np.abs(old).max())))


def weight(model, path):
    return as_numpy(next(v for v in model.weights if v.path.endswith(path)))


def step(model):
    """How one step of plain gradient descent changes every weight."""
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=not JIT, jit_compile=JIT)
    before = {v.path: np.array(as_numpy(v)) for v in model.trainable_variables}
    model.train_on_batch(faces(2))
    return {v.path: as_numpy(v) - before[v.path] for v in model.trainable_variables}


def change(changes, path):
    return next(values for name, values in changes.items() if name.endswith(path))


# ---- widening -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"depth": 2, "stacks": 2},
        {"depth": 3, "gate": True, "deformable": "both"},
        {"topology": "sat_i", "depth": 2},
        {"topology": "hourglass", "block": "resnet", "deformable": "both"},
        {"topology": "unet", "block": "hpm"},
        {"topology": "hourglass", "block": "inception"},
        {"stem": "full", "width": 0.5},
    ],
    ids=lambda fields: "-".join(map(str, fields.values())),
)
def test_widened_network_has_the_same_heatmaps(fields):
    small = network(**fields)
    wide = widen(small, noise=0.5)
    assert wide.architecture.width == 2 * small.architecture.width
    assert wide.count_params() > 1.8 * small.count_params()
    for new, old in zip(logits(wide), logits(small), strict=True):
        assert_same(new, old)


def test_light_stem_of_two_halvings_and_widths_in_a_row():
    small = network(map_size=SIZE // 4)
    twice = widen(widen(small), noise=0.3, seed=3)
    at_once = widen(small, 4)
    assert twice.architecture == at_once.architecture
    for wide in (twice, at_once):
        assert_same(logits(wide)[0], logits(small)[0])


def test_copies_lie_side_by_side_and_share_their_kernel():
    small = network()
    wide = widen(small, 3, noise=0.7)
    old, new = (weight(m, "w3_h4_1/conv/kernel") for m in (small, wide))
    assert new.shape == (3, 3, 3 * old.shape[2], 3 * old.shape[3])
    for i in range(old.shape[2]):
        for o in range(old.shape[3]):
            for copy in range(3):
                shares = new[:, :, 3 * i : 3 * i + 3, 3 * o + copy]
                np.testing.assert_allclose(shares.sum(axis=2), old[:, :, i, o], atol=1e-6)
                assert np.ptp(shares, axis=2).max() > 0.01 * np.abs(old[:, :, i, o]).max()
    # Colors of the picture are no channels that grow, nor are landmarks.
    for path in ("conv0/kernel", "bn0/moving_variance"):
        np.testing.assert_array_equal(weight(wide, path), np.repeat(weight(small, path), 3, -1))
    np.testing.assert_array_equal(weight(wide, "heatmap/bias"), weight(small, "heatmap/bias"))


def every_other(values, start):
    values = values[..., 0] if values.shape[-1] == 1 else values
    return values[..., start::2]


def test_noise_tells_copies_apart_and_its_seed_decides_how():
    small = network()
    alike, apart = step(widen(small)), step(widen(small, noise=0.5))
    for path in ("conv0/kernel", "bn0/gamma", "stack0_unit0/w2_h3_2/conv/kernel"):
        # Of a depth-wise kernel the last axis has one entry, and the channels are before it.
        first, second = (every_other(change(alike, path), i) for i in (0, 1))
        size = np.abs(first).max()
        assert size > 0
        np.testing.assert_allclose(first, second, atol=1e-4 * size)
        first, second = (every_other(change(apart, path), i) for i in (0, 1))
        assert np.abs(first - second).max() > 0.01 * np.abs(first).max()
    path = "w3_h4_1/conv/kernel"
    drawn = [weight(widen(small, noise=0.5, seed=seed), path) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0] - drawn[2]).max() > 0.01


def test_family_scheme_and_decoding_stay_and_a_file_brings_all_back(tmp_path):
    small = fix_weights(
        DenseUNetFaceAlign(
            1, 1, width=0.0625, input_size=SIZE, map_size=MAP, stem="light", num_landmarks=29,
            scheme="cofw29", inside="none", outside=False,
        )
    )  # fmt: skip
    small.decode_method = "argmax"
    wide = deepen(widen(small))
    assert type(wide) is DenseUNetFaceAlign
    assert (wide.scheme, wide.decode_method, wide.outside) == (small.scheme, "argmax", False)
    wide.save(tmp_path / "wide.keras")
    again = keras.saving.load_model(tmp_path / "wide.keras")
    assert again.architecture == wide.architecture
    assert_same(logits(again)[1], logits(small)[0])


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({}, {"factor": 1}, "factor is 1"),
        ({}, {"factor": 1.5}, "factor is 1.5"),
        ({}, {"noise": -0.1}, "noise is -0.1"),
        ({}, {"noise": float("nan")}, "noise is nan"),
        ({"spatial_transformer": True}, {}, "spatial_transformer=True cannot be widened"),
        ({"stem": "full", "width": 0.25}, {}, "'res0' is another kind of block.*stem='light'"),
        (
            {"topology": "hourglass", "block": "resnet", "width": 0.0351},
            {"factor": 3},
            "not a multiple",
        ),
    ],
)
def test_what_cannot_be_widened(fields, options, message):
    with pytest.raises(FaceAlignError, match=message):
        widen(unset(**fields), **options)


# ---- deepening ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "stacks"),
    [
        ({}, 2),
        ({"stacks": 2, "deformable": "both"}, 4),
        (
            {
                "topology": "hourglass",
                "block": "resnet",
                "deformable": "both",
                "variant": "insightface",
            },
            2,
        ),
    ],
)
def test_deepened_network_repeats_the_last_heatmaps(fields, stacks):
    shallow = network(**fields)
    deep = deepen(shallow, stacks)
    assert deep.architecture.stacks == stacks
    old, new = logits(shallow), logits(deep)
    assert len(new) == stacks
    for i, maps in enumerate(new):
        assert_same(maps, old[min(i, len(old) - 1)])


def test_connections_between_stacks_start_at_zero_and_learn():
    deep = deepen(network())
    for name in ("ll2", "out2"):
        assert not weight(deep, f"stack0_{name}/kernel").any()
    changes = step(deep)
    for name in ("ll2", "out2"):
        for kind in ("kernel", "bias"):
            assert np.abs(change(changes, f"stack0_{name}/{kind}")).max() > 0
    assert all(np.abs(values).max() > 0 for values in changes.values())


def test_deeper_and_wider_together():
    small = SATFaceAlign(
        1, 1, width=0.0625, input_size=SIZE, map_size=MAP, stem="light", head_prior=0.01
    )
    both = widen(deepen(fix_weights(small)), noise=0.5)
    assert (both.architecture.stacks, both.architecture.width) == (2, 0.125)
    for maps in logits(both):
        assert_same(maps, logits(small)[0])


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize(
    ("fields", "stacks", "message"),
    [
        ({}, 1, "stacks is 1; it must be an integer, at least 2"),
        ({}, 2.0, "stacks is 2.0"),
        (
            {"topology": "hourglass", "block": "resnet", "deformable": "both"},
            2,
            "hourglass with deformable='both' cannot",
        ),
    ],
)
def test_what_cannot_be_deepened(fields, stacks, message):
    with pytest.raises(FaceAlignError, match=message):
        deepen(unset(**fields), stacks)


# ---- deformable convolutions ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"stacks": 2}, "both"),
        ({"depth": 2}, "heads"),
        ({"topology": "unet", "block": "hpm"}, "heads"),
        (
            {
                "topology": "hourglass",
                "block": "resnet",
                "stacks": 2,
                "variant": "insightface_2018",
            },
            "between",
        ),
    ],
    ids=["both", "heads", "unet", "between"],
)
def test_deformable_network_has_the_same_heatmaps_and_learns_offsets(fields, where):
    plain = network(**fields)
    plain.landmark_offset = (0.5, -0.25)
    deformed = make_deformable(plain, where)
    assert deformed.architecture == Architecture(
        **{**plain.architecture.to_dict(), "deformable": where}
    )
    assert tuple(deformed.landmark_offset) == (0.5, -0.25)
    for new, old in zip(logits(deformed), logits(plain), strict=True):
        assert_same(new, old)
    offsets = [v for v in deformed.trainable_variables if "/offset/" in v.path]
    assert offsets and not any(as_numpy(v).any() for v in offsets)
    changes = step(deformed)
    # A tap whose kernel is zero has no gradient; that at the center has one.
    assert all(np.abs(changes[v.path]).max() > 0 for v in offsets)


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize(
    ("fields", "where", "message"),
    [
        ({}, "none", "where is 'none'; choose one of: between, heads, both"),
        ({"deformable": "heads"}, "both", "has deformable='heads' already"),
        ({"topology": "hourglass"}, "both", "hourglass with deformable='both' cannot"),
        ({"variant": "insightface_2018"}, "heads", "normalize in front"),
    ],
)
def test_what_cannot_be_made_deformable(fields, where, message):
    with pytest.raises(FaceAlignError, match=message):
        make_deformable(unset(**fields), where)


# ---- rescaling ------------------------------------------------------------------------------


STEM = ("conv", "bn", "res")


def differing(one, other):
    """The layers of the second network whose weights are not those of the first."""
    values = {v.path: as_numpy(v) for v in one.weights}
    return {
        v.path.partition("/")[0]
        for v in other.weights
        if v.path not in values or not np.array_equal(values[v.path], as_numpy(v))
    }


def test_twice_the_input_and_maps_keep_all_weights():
    small = network()
    small.decode_method, small.landmark_offset = "argmax", (0.5, -0.25)
    large = rescale(small, input_size=2 * SIZE, map_size=2 * MAP)
    assert not differing(small, large)
    assert (large.decode_method, tuple(large.landmark_offset)) == ("argmax", (1.0, -0.5))
    images = np.random.default_rng(1).integers(0, 256, (1, 2 * SIZE, 2 * SIZE, 3))
    (maps,) = large(images.astype("float32"), training=False)
    assert tuple(maps.shape) == (1, 2 * MAP, 2 * MAP, 68)


@pytest.mark.parametrize(
    ("before", "change"),
    [
        ({"map_size": SIZE // 4}, {"map_size": SIZE // 2}),
        ({}, {"stem": "full"}),
        ({"map_size": SIZE // 4, "stacks": 2}, {"map_size": SIZE // 2, "stem": "full"}),
    ],
    ids=["ratio", "kind", "both"],
)
def test_another_stem_starts_untrained_and_learns_with_the_rest(before, change):
    small = network(**before)
    other = rescale(small, **change)
    assert other.architecture == Architecture(
        **{**small.architecture.to_dict(), **change}  # nothing else changes
    )
    changed = differing(small, other)
    assert changed and all(name.startswith(STEM) for name in changed)
    kept = {v.path.partition("/")[0] for v in other.weights} - changed
    assert not any(name.startswith(STEM) for name in kept)
    assert all(np.abs(values).max() > 0 for values in step(other).values())


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize(
    ("fields", "change", "message"),
    [
        ({"spatial_transformer": True}, {"map_size": SIZE // 4}, "cannot be rescaled"),
        ({}, {"map_size": 3}, "map_size=3"),
        ({}, {"stem": "heavy"}, "'heavy'"),
    ],
)
def test_what_cannot_be_rescaled(fields, change, message):
    with pytest.raises(FaceAlignError, match=message):
        rescale(unset(**fields), **change)


@pytest.mark.slow
def test_the_example_fits_a_stem_and_trains_on_single_views(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    import grow_2d
    from one_view import one_view

    small = network(map_size=SIZE // 4)
    teacher = rescale(small, input_size=2 * SIZE, map_size=SIZE // 2)
    model = rescale(small, map_size=SIZE // 2, stem="full")
    model.augmentation.configure({"base": {"rotation": 10.0}, "seed": 1})
    fit = grow_2d.StemFit(model, teacher)
    fit.compile(keras.optimizers.Adam(3e-3), jit_compile=JIT)
    losses = [float(fit.train_on_batch(faces(4))) for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0]
    assert not differing(small, teacher)
    assert all(name.startswith(STEM) for name in differing(small, model))

    single = one_view(model)
    for new, old in zip(logits(single), logits(model), strict=True):
        assert_same(new, old)
    seen, original = [], single.heatmaps_and_frames

    def note(images, training=None):
        seen.append(images.shape[0])
        return original(images, training)

    single.heatmaps_and_frames = note
    single.compile("sgd", coherent_weight=0.0, jit_compile=JIT)
    logs = single.train_on_batch(faces(3), return_dict=True)
    assert seen == [3]  # a pair would be 6 images
    assert np.isfinite(logs["loss"]) and np.isfinite(logs["nme"])

    dual = grow_2d.with_transformers(single)
    assert type(dual) is DenseUNetFaceAlign and dual.outside
    assert dual.architecture.deformable == "both"
    for new, old in zip(logits(dual), logits(single), strict=True):
        assert_same(new, old)
