"""Apache Beam gives the files of the processes of one machine."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from keras_facealign.corpus import align_shard, plan, prepare
from keras_facealign.corpus.beam import AlignFaces, AlignShards, main
from keras_facealign.corpus.output import face_schema
from keras_facealign.errors import FaceAlignError
from tests.corpus.samples import (
    BROKEN,
    Options,
    load,
    photo,
    photos,
    results,
    rows,
    write_folder,
)

pytest.importorskip("pyarrow")
HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
with_beam = pytest.mark.skipif(not HAS_BEAM, reason='pip install "keras_facealign[beam]"')


@pytest.mark.skipif(HAS_BEAM, reason="Apache Beam is installed")
def test_without_beam_the_extra_is_named(tmp_path, capsys):
    for make in (AlignFaces, lambda: AlignShards("out")):
        with pytest.raises(FaceAlignError, match=r"keras_facealign\[beam\]"):
            make()
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path), "--output", "out"])
    assert stop.value.code == 2
    assert "keras_facealign[beam]" in capsys.readouterr().err


@with_beam
@pytest.mark.slow
def test_shards_in_two_processes(tmp_path):
    import apache_beam as beam
    from apache_beam.metrics import MetricsFilter

    source = write_folder(tmp_path / "in", photos(12, **BROKEN))
    shards, options = plan(source, photos_per_shard=4), Options(overlay_every=4)
    for name in ("expected", "out"):
        prepare(shards, tmp_path / name, options.to_dict())
    for shard in shards:
        align_shard(shard, tmp_path / "expected", load(), 4)
    arguments = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    pipeline = beam.Pipeline(argv=["--runner=DirectRunner", *arguments])
    _ = pipeline | beam.Create(shards) | AlignShards(tmp_path / "out", options)
    finished = pipeline.run()
    finished.wait_until_finish()
    assert results(tmp_path / "out") == results(tmp_path / "expected")
    counters = finished.metrics().query(MetricsFilter().with_namespace("keras_facealign"))
    found = {c.key.metric.name: c.committed for c in counters["counters"]}
    assert found == {"photos": 12, "faces": 12, "failed": 2}
    assert not prepare(shards, tmp_path / "out", options.to_dict())


@with_beam
def test_photos_of_a_pipeline(tmp_path):
    import apache_beam as beam
    from apache_beam.testing.util import assert_that, equal_to

    (tmp_path / "a.jpg").write_bytes(photo(1))
    elements = [("bytes", photo(0)), ("path", str(tmp_path / "a.jpg")), ("broken", b"no photo")]
    aligner = load()
    expected = [
        (key, 110, [face.to_dict() for face in aligner.align(source)])
        for key, source in elements[:2]
    ]
    with beam.Pipeline(runner="DirectRunner") as pipeline:
        found = pipeline | beam.Create(elements) | AlignFaces(Options())
        got = found.rows | beam.Map(lambda row: (row["key"], row["width"], row["faces"]))
        assert_that(got, equal_to(expected))
        dead = found.dead_letters | "Keys" >> beam.Map(
            lambda row: (row["key"], bool(row["reason"]))
        )
        assert_that(dead, equal_to([("broken", True)]), "dead letters")


@with_beam
def test_the_pipeline_of_the_guide(tmp_path):
    import apache_beam as beam
    import pyarrow.parquet as pq
    from apache_beam.io import WriteToParquet, fileio

    source = write_folder(tmp_path / "in", {"a/0.jpg": photo(0), "1.jpg": photo(1), "2.jpg": b""})
    with beam.Pipeline(runner="DirectRunner") as pipeline:
        photos = (
            pipeline
            | fileio.MatchFiles(f"{source}/**.jpg")
            | fileio.ReadMatches()
            | beam.Map(lambda file: (file.metadata.path, file.read()))
        )
        found = photos | AlignFaces(Options())
        rows = found.rows | "Rows" >> beam.Map(lambda row: {"shard": None, **row, "overlay": None})
        _ = rows | WriteToParquet(str(tmp_path / "faces"), face_schema())
        _ = found.dead_letters | "Failed" >> beam.Map(lambda row: print(row["reason"]))
    tables = [pq.ParquetFile(path).read() for path in tmp_path.glob("faces*")]
    written = sorted(
        (row for table in tables for row in table.to_pylist()), key=lambda row: row["key"]
    )
    assert [row["key"] for row in written] == [str(source / name) for name in ("1.jpg", "a/0.jpg")]
    for row, number in zip(written, (1, 0), strict=True):
        (face,) = row["faces"]
        (expected,) = load().align(photo(number))
        np.testing.assert_allclose(face["landmarks"], expected.landmarks, atol=1e-3)


@with_beam
def test_the_program(tmp_path, capsys):
    source = write_folder(tmp_path / "in", photos(2))
    words = [str(source), "--output", str(tmp_path / "out"), "--runner=DirectRunner"]
    words += ["--photos-per-shard", "1"]
    assert main(words) == 0
    assert "2 of 2 shards done" in capsys.readouterr().out
    assert len(rows(tmp_path / "out")) == 2
    assert main(words) == 0
    assert "0 of 2 shards done" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path / "missing.tar"), "--output", str(tmp_path / "out")])
    assert stop.value.code == 2
