"""`keras-facealign train` on drawn faces in the layout of 300W, with a very small network."""

from __future__ import annotations

import csv
import shutil

import pytest

from keras_facealign.cli import main
from keras_facealign.data.pts import write_pts
from keras_facealign.presets import from_preset, save_to_preset
from tests.data.readers.drawn_faces import make_face
from tests.models.tiny import fix_weights, tiny_model
from tests.paths import ROOT

pytestmark = pytest.mark.usefixtures("module_without_graphs")

BUILDERS = ROOT / "tfds_builders"
DATA = BUILDERS / "ibug_300w" / "dummy_data"
SYNTHETIC = BUILDERS / "face_synthetics" / "dummy_data"


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    return save_to_preset(fix_weights(tiny_model()), tmp_path_factory.mktemp("preset") / "tiny")


@pytest.fixture
def command(preset, tmp_path):
    """The command's words; later options replace earlier ones, but for --data, which adds one."""
    return [
        *("train", "--data", str(DATA), "--output", str(tmp_path / "run"), "--no-jit"),
        *("--preset", str(preset), "--epochs", "1", "--batch-size", "2"),
    ]


def with_data(command, data):
    """The command with another folder."""
    return [str(data) if word == str(DATA) else word for word in command]


def refused(words, capsys):
    """Runs a command that must fail, and returns its one line."""
    capsys.readouterr()
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def epochs(run):
    with open(run / "log.csv", newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


def test_several_data_sets_are_trained_on_together(command, tmp_path, monkeypatch, capsys):
    from keras_facealign import training

    seen = {}

    def note(model, train, validation, output, config, metadata, **options):
        seen["train"] = [face.file_name for face in train]
        seen["validation"] = [face.file_name for face in validation]
        seen["trained_on"] = metadata["trained_on"]
        return {"seconds": 0.0}

    monkeypatch.setattr(training, "fit", note)
    both = ["--data", str(SYNTHETIC), "--data-set", "ibug_300w"]
    both += ["--data-set", "face_synthetics/ibug68"]
    assert main([*command, *both]) == 0
    assert len(seen["train"]) == 6 + 3  # drawn faces
    assert seen["train"][0].startswith("afw/") and seen["train"][-1].endswith("2.png")
    assert len(seen["validation"]) == 2
    assert all(name.startswith("lfpw/testset/") for name in seen["validation"])
    assert seen["trained_on"] == "ibug_300w train, face_synthetics/ibug68 train"

    assert main([*command, *both, "--split", "helen_test", "--split", "train_part"]) == 0
    assert len(seen["train"]) == 1 + 3
    assert seen["trained_on"] == "ibug_300w helen_test, face_synthetics/ibug68 train_part"

    three = refused([*command, *both, "--split", "train", "--split", "a", "--split", "b"], capsys)
    assert "--split is given 3 times for 2 --data" in three
    assert "--boxes" in refused([*command, *both, "--boxes", "boxes.csv"], capsys)


@pytest.mark.slow
def test_a_stopped_run_resumes_with_the_same_command(command, tmp_path, monkeypatch, capsys):
    import keras

    run = tmp_path / "run"
    command += ["--epochs", "2", "--validation", "none", "--fine-tune"]

    def stop(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keras.callbacks.CSVLogger, "on_epoch_begin", stop)
        assert main(command) == 130
    assert epochs(run) == [0]
    assert not (run / "preset").exists()
    assert "other settings" in refused([*command, "--epochs", "3"], capsys)
    assert main(command) == 0
    assert epochs(run) == [0, 1]
    assert (run / "preset").is_dir()
    assert "validation NME" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_finished_run_is_a_preset_and_left_alone_unless_restarted(command, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(command) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Trained 1 epoch in" in printed and "validation NME" in printed
    assert epochs(run) == [0]
    assert from_preset(run / "preset").architecture == tiny_model().architecture

    def times():
        return {path: path.stat().st_mtime_ns for path in run.rglob("*")}

    before = times()
    assert main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "run is finished: 1 epoch, validation NME" in said
    assert "--restart trains from the beginning; for more epochs, give --preset" in said
    assert "finished run with other settings" in refused([*command, "--epochs", "2"], capsys)
    assert times() == before
    assert main([*command, "--learning-rate", "0.002", "--restart"]) == 0
    assert "Trained 1 epoch in" in capsys.readouterr().out
    assert times() != before and epochs(run) == [0]


@pytest.mark.slow
def test_a_run_that_diverges_ends_in_one_line_and_keeps_the_old_preset(command, tmp_path, capsys):
    old = save_to_preset(fix_weights(tiny_model()), tmp_path / "run" / "preset")
    before = {path: path.read_bytes() for path in old.iterdir()}
    options = ["--learning-rate", "1e30", "--optimizer", "nadam", "--validation", "none"]
    assert main([*command, *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "Training diverged: " in error and "in epoch 1, step" in error
    for hint in ("learning rate", "--precision float32", "clipping"):
        assert hint in error
    assert {path: path.read_bytes() for path in old.iterdir()} == before
    assert not (tmp_path / "run" / "backup").exists()


def test_an_nme_that_could_not_be_measured_is_said_so(command, monkeypatch, capsys):
    from keras_facealign import training

    monkeypatch.setattr(
        training, "fit", lambda *args, **options: {"seconds": 0.0, "val_nme": float("nan")}
    )
    assert main(command) == 0
    assert "validation NME not measured" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "expected", "compiled"),
    [
        (
            [],
            ("adamw", 1e-3),
            {"coherent_weight": 0.001, "foreground_weight": 9.0, "landmark_weight": 0.01},
        ),
        (["--recipe", "paper"], ("nadam", 2.5e-4), {"recipe": "paper"}),
        (["--recipe", "dfa"], ("shared_nadam", 1e-4), {"recipe": "dfa"}),
        (
            ["--recipe", "insightface_2018", "--optimizer", "adamw", "--learning-rate", "0.01"],
            ("adamw", 0.01),
            {"recipe": "insightface_2018"},
        ),
        (  # the name in version 0.1
            ["--recipe", "old"],
            ("shared_nadam", 2.5e-4),
            {"recipe": "old"},
        ),
        (
            ["--recipe", "insightface", "--coherent-weight", "0", "--landmark-weight", "0.5"],
            ("shared_nadam", 2.5e-4),
            {"recipe": "insightface", "coherent_weight": 0.0, "landmark_weight": 0.5},
        ),
        (["--optimizer", "nadam", "--foreground-weight", "1"], ("nadam", 1e-3), None),
    ],
)
def test_recipe_and_what_replaces_its_parts(command, options, expected, compiled, monkeypatch):
    from keras_facealign import training

    seen = []

    def note(model, train, validation, output, config, *rest, **options):
        seen.append(config)
        model.compile(training.make_optimizer(config, 10), **config.compile)
        return {"seconds": 0.0}

    monkeypatch.setattr(training, "fit", note)
    assert main([*command, *options]) == 0
    config = seen[0]
    assert (config.optimizer, config.learning_rate) == expected
    settings = dict(config.compile)
    assert settings.pop("jit_compile") is False
    if compiled is None:
        assert (settings["foreground_weight"], settings["landmark_weight"]) == (1.0, 0.01)
    else:
        assert ("augmentation" in settings) == ("recipe" not in settings)
        settings.pop("augmentation", None)
        assert settings == compiled


@pytest.mark.parametrize(
    ("recipe", "flip", "pair", "erase"),
    [([], 0.5, 40.0, 0.5), (["--recipe", "dfa"], 0.0, 0.0, 0.0)],
)
def test_rotation_replaces_that_of_the_recipe_alone(
    command, recipe, flip, pair, erase, monkeypatch
):
    from keras_facealign import training

    seen = []

    def note(model, train, validation, output, config, *rest, **options):
        model.compile(training.make_optimizer(config, 10), **config.compile)
        seen.append(model.augmentation)
        return {"seconds": 0.0}

    monkeypatch.setattr(training, "fit", note)
    assert main([*command, *recipe, "--rotation", "180"]) == 0
    assert (seen[0].base.rotation, seen[0].base.flip) == (180.0, flip)
    assert seen[0].pair.rotation == pair
    assert seen[0].corruptions.erase == erase
    assert main([*command, "--rotation", "181"]) == 2


@pytest.mark.parametrize("faster", ["float32", "mixed_bfloat16"])
def test_precision_is_measured_and_printed(command, faster, monkeypatch, capsys):
    import keras

    from keras_facealign import training
    from keras_facealign.training import precision

    def note(model, *rest, **options):
        assert model.get_layer("relu0").compute_dtype == faster.removeprefix("mixed_")
        return {"seconds": 0.0}

    times = {"float32": 1.0, "mixed_bfloat16": 0.5 if faster == "mixed_bfloat16" else 2.0}
    monkeypatch.setattr(precision, "measure_precisions", lambda *sizes: times)
    monkeypatch.setattr(training, "fit", note)
    assert main([*command, "--precision", "auto"]) == 0
    assert f"Training in {faster}" in capsys.readouterr().out
    assert keras.mixed_precision.dtype_policy().name == "float32"


def test_broken_files_are_named_at_the_end(command, tmp_path, monkeypatch, capsys):
    from keras_facealign import training

    def read(model, train, *others, **options):
        assert all(face.image.ndim == 3 for face in train)
        return {"seconds": 0.0}

    monkeypatch.setattr(training, "fit", read)
    data = tmp_path / "data"
    for folder in ("afw", "lfpw/testset"):
        shutil.copytree(DATA / folder, data / folder)
    (data / "afw" / "face_001.jpg").write_bytes(b"no picture")
    assert main(with_data(command, data)) == 0
    assert "skipped: " in (errors := capsys.readouterr().err)
    assert "face_001.jpg" in errors.split("skipped: ")[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--split", "validation"], "'validation'"),
        (["--validation", "helen"], "'helen'"),
        (["--preset", "no_such_preset"], "no_such_preset"),
        (["--learning-rate", "-1"], "learning_rate is -1"),
        (["--learning-rate", "nan"], "learning_rate is nan"),
        (["--ema-momentum", "1"], "is 1"),
        (["--seed", "-1"], "seed"),
        (["--data-set", "merl_rav"], "dummy_data"),
    ],
)
def test_what_cannot_be_is_one_line(command, options, words, capsys):
    assert words in refused([*command, *options], capsys)


def test_a_folder_that_is_missing(command, capsys):
    assert "no/such/folder" in refused(with_data(command, "no/such/folder"), capsys)


def test_an_empty_folder_is_not_a_data_set(command, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(with_data(command, tmp_path / "empty"), capsys)


def test_output_that_is_a_file(command, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert "taken" in refused([*command, "--output", str(tmp_path / "taken")], capsys)


def test_damaged_preset(command, preset, tmp_path, capsys):
    broken = shutil.copytree(preset, tmp_path / "broken")
    (broken / "model.weights.h5").write_bytes(b"")
    options = ["--preset", str(broken), "--fine-tune"]
    assert "model.weights.h5" in refused([*command, *options], capsys)


@pytest.mark.parametrize(
    "options",
    [
        ["--epochs", "0"],
        ["--epochs", "9" * 30],
        ["--epochs", "2000000"],
        ["--batch-size", "9" * 30],
        ["--coherent-weight", "-1"],
        ["--recipe", "mxnet"],
        ["--optimizer", "sgd"],
        ["--what"],
    ],
)
def test_wrong_usage_has_exit_code_2(command, options, capsys):
    assert main([*command, *options]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_landmarks_of_ones_own_are_trained(command, tmp_path, capsys):
    """Pictures with `.pts` files of any number of points: no data set has to be named."""
    for name in ("a", "b"):
        points = make_face(tmp_path / "own", name)[5:12]
        write_pts(tmp_path / "own" / f"{name}.pts", points)
    mine = [*with_data(command, tmp_path / "own"), "--validation", "none"]
    assert main(mine) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Training 7 landmarks, without mirrored views" in printed
    model = from_preset(tmp_path / "run" / "preset")
    assert (model.num_landmarks, model.scheme.name) == (7, "points7")
    assert model.architecture.width == tiny_model().architecture.width
    assert main([*mine, "--fine-tune", "--restart"]) == 2
    assert "finds 68 landmarks, and the labels have 7" in " ".join(capsys.readouterr().err.split())
