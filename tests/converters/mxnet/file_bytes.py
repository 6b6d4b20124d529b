"""Writes MXNet `.params` files, field by field, so that every field can be spoilt."""

import struct

import numpy as np

MAGIC = 0xF993FAC9


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def array_bytes(array, magic=MAGIC, storage=0, shape=None, code=0, device=(1, 0)):
    shape = array.shape if shape is None else shape
    head = struct.pack("<IiI", magic, storage, len(shape)) + struct.pack(f"<{len(shape)}q", *shape)
    return head + struct.pack("<iii", *device, code) + array.tobytes()


def name_bytes(name, length=None):
    raw = name if isinstance(name, bytes) else name.encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def file_bytes(names, arrays, count=None, name_count=None, magic=0x112):
    """`names`: strings or finished bytes; `arrays`: NumPy arrays or finished bytes."""
    arrays = [a if isinstance(a, bytes) else array_bytes(np.asarray(a, "<f4")) for a in arrays]
    names = [name_bytes(n) if isinstance(n, str) else n for n in names]
    head = struct.pack("<QQQ", magic, 0, len(arrays) if count is None else count)
    middle = struct.pack("<Q", len(names) if name_count is None else name_count)
    return head + b"".join(arrays) + middle + b"".join(names)
