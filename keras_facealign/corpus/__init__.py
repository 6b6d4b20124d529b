"""Photos by the million: a corpus in shards, each of which is aligned as a whole.

`plan` divides a source into shards, `prepare` finds those that an output folder lacks, and
`align_shard` does one of them, in whatever process an engine runs it: `run` is the engine of
processes on one machine, `keras_facealign.corpus.beam` that of Apache Beam.
"""

from keras_facealign.corpus.aligning import AlignOptions, ShardResult, align_shard
from keras_facealign.corpus.output import prepare, read_dead_letters
from keras_facealign.corpus.processes import run
from keras_facealign.corpus.shards import Shard, plan

__all__ = [
    "AlignOptions",
    "Shard",
    "ShardResult",
    "align_shard",
    "plan",
    "prepare",
    "read_dead_letters",
    "run",
]
