"""On one replica nothing is exchanged; `tests/models/test_devices.py` has several."""

from __future__ import annotations

import numpy as np
from keras import ops

from keras_facealign.ops import all_gather, all_sum, exchange
from keras_facealign.ops.replicas import replica_count, replica_index, sum_gradients


def test_one_replica_keeps_what_it_has():
    value = ops.convert_to_tensor(np.arange(3, dtype="float32"))
    gradients = [value, None]
    with exchange():
        assert (replica_count(), replica_index()) == (1, 0)
        assert all_sum(value) is value and all_gather(value) is value
        assert sum_gradients(gradients) is gradients
