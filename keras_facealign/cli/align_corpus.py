"""`keras-facealign align-corpus`: finds the landmarks of a large number of photos."""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli.stopping import stoppable

_LISTED = 5  # photos that failed


def align_corpus(
    source: Annotated[Path, typer.Argument(metavar="SOURCE")],
    output: common.OutputFolder,
    workers: Annotated[int, typer.Option(min=1)] = 1,
    preset: common.PresetOrFile = common.DEFAULT_PRESET,
    column: str = "image",
    key_column: str | None = None,
    photos_per_shard: Annotated[int, typer.Option(min=1)] = 1000,
    overlay_every: Annotated[int, typer.Option(min=0)] = 0,
    memory: Annotated[int, typer.Option(min=100)] = 2000,
    min_face: common.MinFace = None,
    runtime: common.Runtime = "auto",
    flip_test: common.FlipTest = False,
    retry: Annotated[bool, typer.Option("--retry")] = False,
    strict: common.Strict = False,
) -> None:
    """Find the faces of a corpus of photos and their landmarks, in several processes.

    The corpus is divided into shards. Each gives faces/NAME.parquet, a row for each photo, and
    dead_letters/NAME.parquet if photos failed, with the reasons. These files appear when they are
    whole: the same command after an interruption does what is missing. The shard of a process that
    is killed is done again.

    The exit code is 0 if at least one photo could be aligned, with or without a face, and 2 if none
    could (with --strict: if any failed). Ctrl-C keeps whole shards.

    Args:
        source: Folder of photos, searched with its subfolders; .txt file with the path of a photo
            on each line; or .tar, .parquet or .tfrecord file, or folder of such files.
        workers: Number of processes.
        column: Column or feature with the photos in Parquet and TFRecord files.
        key_column: Column or feature that identifies a photo; by default the number of its row.
        photos_per_shard: Photos in a shard; .tar, .parquet and .tfrecord files are shards as they
            are.
        overlay_every: Write an image with the landmarks drawn for one photo in so many.
        memory: Megabytes that a process may take for its photos (Linux); a photo that needs more
            fails.
        retry: Do shards with failed photos once more.
    """
    from keras_facealign.corpus import AlignOptions, plan, prepare, read_dead_letters, run
    from keras_facealign.corpus.output import count_photos

    options = AlignOptions(preset, runtime, flip_test, min_face, overlay_every)
    shards = plan(source, column, key_column, photos_per_shard, exclude=output)
    missing = prepare(shards, output, options.to_dict(), retry)
    load = partial(common.load_aligner, preset, runtime, flip_test, True, min_face)
    done = len(shards) - len(missing)
    if done:
        common.say(f"{done} of {common.count(len(shards), 'shard')} were done before")
    with common.progress_bar("Aligning", len(missing)) as advance, stoppable() as stop:
        for _ in run(missing, output, load, overlay_every, workers, memory, stop.check):
            advance()
    whole, photos, failed = count_photos(shards, output)
    common.say(f"{common.count(photos, 'photo')} aligned; results are in {output}")
    if failed:
        common.say(
            f"{common.count(failed, 'photo')} failed; see {output / 'dead_letters'}:", err=True
        )
        for row in islice(read_dead_letters(output), _LISTED):
            common.say(f"  {row['shard']}: {row['key']}: {row['reason']}", err=True)
    stop.finish(f"{whole} of {common.count(len(shards), 'shard')} whole")
    if failed and (strict or not photos):
        raise typer.Exit(common.EXIT_UNUSABLE_INPUT)
