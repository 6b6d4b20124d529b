"""Aligns a corpus of photos with PySpark, shard by shard; the files are those of `align-corpus`.

    pip install "keras_facealign[corpus,litert]" "pyspark[sql]"
    spark-submit examples/spark_corpus.py photos --output aligned --master "local[2]"

Spark needs a Java runtime. All workers have to see photos and output by the same paths. What is
done already is left out, so that the same command resumes an interrupted run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from keras_facealign.corpus import AlignOptions, Shard, align_shard, plan, prepare

COLUMNS = "name string, photos long, faces long, failed long"


def align(
    shards: list[Shard], output: str, options: AlignOptions
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for `DataFrame.mapInArrow`, from numbers of shards to what has become of them."""

    def each(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        aligner = options.load()
        for batch in batches:
            for number in batch.column("id").to_pylist():
                result = align_shard(shards[number], output, aligner)
                yield pa.RecordBatch.from_pylist([asdict(result)])

    return each


def main() -> None:
    from pyspark.sql import SparkSession

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="as for keras-facealign align-corpus")
    parser.add_argument("--output", required=True, help="folder of the results")
    parser.add_argument("--preset", default=AlignOptions.preset)
    parser.add_argument("--photos-per-shard", type=int, default=1000)
    parser.add_argument("--master", help="Spark's master, if spark-submit does not give it")
    args = parser.parse_args()

    options = AlignOptions(args.preset)
    shards = plan(args.source, photos_per_shard=args.photos_per_shard, exclude=args.output)
    missing = prepare(shards, args.output, options.to_dict())
    builder: Any = SparkSession.builder.appName("keras_facealign")
    spark = (builder.master(args.master) if args.master else builder).getOrCreate()
    # A partition for each worker: every one loads the networks.
    partitions = max(1, min(len(missing), spark.sparkContext.defaultParallelism))
    numbers = spark.range(0, len(missing), 1, partitions)
    done = numbers.mapInArrow(align(missing, args.output, options), COLUMNS).collect()
    photos, failed = (sum(row[name] for row in done) for name in ("photos", "failed"))
    print(f"{len(done)} of {len(shards)} shards: {photos} photos aligned, {failed} failed")
    spark.stop()


if __name__ == "__main__":
    main()
