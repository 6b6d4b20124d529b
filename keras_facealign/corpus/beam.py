"""Aligns a corpus with Apache Beam (extra `beam`), on one machine or many.

`AlignShards` is the engine of a corpus in files; `AlignFaces` is a step of any pipeline. As a
program it takes the options of Beam's runners:

    python -m keras_facealign.corpus.beam SOURCE --output DIR --runner DirectRunner \\
        --direct_running_mode multi_processing --direct_num_workers 2
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from keras_facealign.corpus.aligning import AlignOptions, align_shard, photo_row
from keras_facealign.corpus.output import prepare
from keras_facealign.corpus.shards import Shard, plan
from keras_facealign.data.files import import_extra
from keras_facealign.data.images import read_image
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import one_line

beam: Any
Shared: Any
try:
    import apache_beam as beam
    from apache_beam.utils.shared import Shared
except ImportError:  # The classes below cannot be made then, and say so.
    beam = Shared = None
_DoFn: Any = beam.DoFn if beam else object
_PTransform: Any = beam.PTransform if beam else object

DEAD_LETTERS = "dead_letters"
"""Tag of the photos that failed, in the output of `AlignFaces`."""


class _WithAligner(_DoFn):
    """Loads one aligner for all threads of a process, and counts what is done."""

    def __init__(self, options: AlignOptions) -> None:
        self.options = options
        self._shared = Shared()

    def setup(self) -> None:
        self.aligner = self._shared.acquire(self.options.load)

    def count(self, **numbers: int) -> None:
        for name, number in numbers.items():
            beam.metrics.Metrics.counter("keras_facealign", name).inc(number)


class _AlignPhoto(_WithAligner):
    def process(self, element: tuple[Any, Any]) -> Iterator[Any]:
        key, photo = element
        try:
            image = read_image(photo, name=str(key))
            faces: Any = self.aligner.align_batch([image], names=[str(key)], on_error="return")[0]
            if isinstance(faces, Exception):
                raise faces
            row = photo_row(faces, (image.shape[1], image.shape[0]))
        except Exception as error:
            self.count(failed=1)
            reason = {"key": key, "reason": one_line(error)}
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, reason)
        else:
            self.count(photos=1, faces=len(faces))
            yield {"key": key, **row}


class _AlignShard(_WithAligner):
    def __init__(self, output: str, options: AlignOptions) -> None:
        super().__init__(options)
        self.output = output

    def process(self, shard: Shard) -> Iterator[Any]:
        result = align_shard(shard, self.output, self.aligner, self.options.overlay_every)
        self.count(photos=result.photos, faces=result.faces, failed=result.failed)
        yield result


class AlignFaces(_PTransform):
    """Finds the faces of photos in a pipeline, and their landmarks.

    Input are pairs of a key and a photo: encoded bytes, or a path, or an array, as
    `keras_facealign.read_image` takes them. The output has two parts: `rows`, with the fields
    `key`, `width`, `height` and `faces`; and `dead_letters`, with `key` and `reason`. Counters
    `photos`, `faces` and `failed` are in the namespace `keras_facealign`.

    Args:
        options: The networks to use; `overlay_every` has no effect.

    Raises:
        FaceAlignError: If Apache Beam is not installed.

    Example:
        >>> found = photos | AlignFaces()  # doctest: +SKIP
        >>> found.rows | beam.Map(print)  # doctest: +SKIP
        >>> found.dead_letters | "Log" >> beam.Map(print)  # doctest: +SKIP
    """

    def __init__(self, options: AlignOptions | None = None) -> None:
        import_extra("apache_beam", "beam")
        super().__init__()
        self.options = options or AlignOptions()

    def expand(self, photos: Any) -> Any:
        """Adds the step to a pipeline."""
        step = beam.ParDo(_AlignPhoto(self.options))
        return photos | step.with_outputs(DEAD_LETTERS, main="rows")


class AlignShards(_PTransform):
    """Aligns the shards of a corpus; the files are those that `run` writes.

    Input are shards from `prepare`, output their `ShardResult`s. All workers have to see source and
    output by the same paths. Counters are those of `AlignFaces`.

    Args:
        output: The folder of the results.
        options: What is done with the photos.

    Raises:
        FaceAlignError: If Apache Beam is not installed.

    Example:
        >>> options = AlignOptions()  # doctest: +SKIP
        >>> missing = prepare(plan("photos"), "results", options.to_dict())  # doctest: +SKIP
        >>> shards = pipeline | beam.Create(missing)  # doctest: +SKIP
        >>> shards | AlignShards("results", options)  # doctest: +SKIP
    """

    def __init__(self, output: str | os.PathLike[str], options: AlignOptions | None = None) -> None:
        import_extra("apache_beam", "beam")
        super().__init__()
        self.output, self.options = os.fspath(output), options or AlignOptions()

    def expand(self, shards: Any) -> Any:
        """Adds the step to a pipeline."""
        step = beam.ParDo(_AlignShard(self.output, self.options))
        # Without it a runner may do all shards that one `Create` yields in one process.
        return shards | beam.Reshuffle() | step


def main(argv: Sequence[str] | None = None) -> int:
    """Aligns a corpus with the runner that the arguments name.

    Args:
        argv: The words after the program's name. Default: those of `sys.argv`.

    Returns:
        0 on success, 2 for unusable input, which one line on standard error names.
    """
    parser = argparse.ArgumentParser(description="Other options are those of Beam's runners.")
    parser.add_argument("source")
    parser.add_argument("--output", required=True)
    parser.add_argument("--preset", default=AlignOptions.preset)
    parser.add_argument("--runtime", default=AlignOptions.runtime)
    parser.add_argument("--column", default="image")
    parser.add_argument("--key-column")
    parser.add_argument("--photos-per-shard", type=int, default=1000)
    known, others = parser.parse_known_args(argv)
    try:
        import_extra("apache_beam", "beam")
        options = AlignOptions(known.preset, known.runtime)
        size = known.photos_per_shard
        shards = plan(known.source, known.column, known.key_column, size, exclude=known.output)
        missing = prepare(shards, known.output, options.to_dict())
    except FaceAlignError as error:
        parser.exit(2, f"keras-facealign: {error}\n")
    if missing:
        with beam.Pipeline(argv=others) as pipeline:
            _ = pipeline | beam.Create(missing) | AlignShards(known.output, options)
    print(f"{len(missing)} of {len(shards)} shards done; results are in {known.output}")
    return 0


if __name__ == "__main__":
    # Workers of other processes find the classes in the module, but not in the program.
    raise SystemExit(importlib.import_module("keras_facealign.corpus.beam").main())
