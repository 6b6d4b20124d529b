"""`keras-facealign verify`: measures a recognition network under a verification protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli.embed import FlipAverage, Mean, Network, Scale
from keras_facealign.errors import FaceAlignError

_STORE = "embeddings.npz"


def verify(
    data: common.DataFolder,
    model: Network,
    output: common.OutputFolder,
    protocol: Literal["lfw", "cfp_ff", "cfp_fp"] = "cfp_fp",
    mode: Annotated[list[str] | None, typer.Option()] = None,
    preset: common.PresetOrFile = common.DEFAULT_PRESET,
    mean: Mean = 127.5,
    scale: Scale = 128.0,
    flip_average: FlipAverage = False,
    runtime: common.Runtime = "auto",
    flip_test: common.FlipTest = False,
    strict: common.Strict = False,
) -> None:
    """Measure how well a network tells persons apart, under one or several normalizations.

    Prints accuracy (mean and standard deviation over the folds, each with the threshold of the
    others), AUC, EER and TAR at a FAR of 0.1 %, beside the accuracies of the paper's Table 3, which
    are of a large network. Writes report.json, report.html, pairs.csv, roc.png and the worst pairs,
    and embeddings.npz: Ctrl-C keeps the embeddings, and the same command continues with them.

    Pairs with a missing or broken picture are left out and listed. A picture in which no face is
    found counts as a whole. The numbers of such pictures, and of those whose landmarks are marked
    as not reliable, are printed.

    Args:
        protocol: lfw (View 2), cfp_ff or cfp_fp.
        mode: picture (no face is looked for), arcface, box, similarity68, pose3d, frontal3d, or
            all; repeat it for several. Default: arcface.
    """
    from keras_facealign.recognition import (
        VERIFICATION_MODES,
        Embedder,
        FaceNormalizer,
        PictureEmbeddings,
        get_verification_protocol,
    )
    from keras_facealign.recognition import verify as run_protocol

    modes = list(dict.fromkeys(mode or ["arcface"]))
    modes = list(VERIFICATION_MODES) if "all" in modes else modes
    chosen = get_verification_protocol(protocol)
    total = chosen.count(data)
    embedder = Embedder.from_file(model, mean, scale, flip_average)
    aligner = common.load_aligner(preset, runtime, flip_test, True)
    normalizer = FaceNormalizer(aligner, image_size=embedder.input_size, select="central")
    embeddings = PictureEmbeddings(normalizer, embedder, modes)
    common.make_folder(output)
    settings = f"{model.name} {_digest(model)} {mean} {scale} {flip_average} {preset} {flip_test}"
    settings += f" {protocol} {modes}"
    if (output / _STORE).is_file() and embeddings.load(output / _STORE, settings):
        common.say(f"{common.count(len(embeddings), 'picture')} embedded by an earlier run")
    try:
        with common.progress_bar("Verifying", total, stderr=True) as advance:
            report = run_protocol(chosen, data, embeddings, advance)
    except KeyboardInterrupt as stop:
        if len(embeddings):
            embeddings.save(output / _STORE, settings)
        done = f"{common.count(len(embeddings), 'picture')} embedded; they are kept"
        raise type(stop)(done) from None
    embeddings.save(output / _STORE, settings)
    report.write(output, data)
    common.print_tables(report.to_table(), min_width=90)
    for line in report.remarks():
        common.say(line)
    common.list_skipped(report.excluded)
    common.say(f"Results are in {output}")
    if strict and report.excluded:
        raise FaceAlignError(f"{len(report.excluded)} of {total} pairs could not be used")


def _digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
