"""What Spark's workers run gives the files of a process of its own; Spark itself is not needed."""

from __future__ import annotations

import pytest

from keras_facealign.corpus import align_shard, plan, prepare
from tests.corpus.samples import BROKEN, Options, load, photos, results, write_folder
from tests.paths import ROOT, load_script

pa = pytest.importorskip("pyarrow")


def test_batches_of_numbers_become_shards(tmp_path):
    example = load_script(ROOT / "examples" / "spark_corpus.py")
    source = write_folder(tmp_path / "in", photos(10, **BROKEN))
    shards, options = plan(source, photos_per_shard=4), Options()
    for name in ("expected", "out"):
        prepare(shards, tmp_path / name, options.to_dict())
    expected = [align_shard(shard, tmp_path / "expected", load()) for shard in shards]
    numbers = [pa.RecordBatch.from_pydict({"id": [n]}) for n in range(len(shards))]
    found = list(example.align(shards, str(tmp_path / "out"), options)(numbers))
    assert results(tmp_path / "out") == results(tmp_path / "expected")
    assert [row for batch in found for row in batch.to_pylist()] == [vars(r) for r in expected]
    names = [column.split()[0] for column in example.COLUMNS.split(", ")]
    assert found[0].schema.names == names
