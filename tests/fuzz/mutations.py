"""Damages files: bytes, numbers and pieces, inside of compressed containers too.

Every mutation is determined by its random generator, so that an input is known by its number.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

# Lengths, counts and sizes at which programs go wrong.
NUMBERS = (0, 1, 2, 3, 7, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 10**6, 10**9)
NUMBERS += (2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
TOKENS = (
    *("", "0", "-1", "1e999", "-1e308", "nan", "inf", "NaN", "Infinity", "null", "true", "1e-320"),
    *("9" * 20, "9" * 4299, "9" * 4301, "0x10", "1_000", "1.5.5", "٣", "²", "½", "\x00", "\ufeff"),
    *("[" * 2000, "{" * 2000, '"', "'", "\\ud800", ",", "\t", "../../../x", "a" * 200_000, "=1+1"),
    *("points999999999", "points4", "V0", "O", "<U0", "|V9", "(", "1000000000,1000000000"),
    # On these, a pattern may look at all of the text from each of its characters.
    *(" " * 200_000, "1" * 200_000, "_" * 200_000, "<a " * 60_000),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 10**9, 10**18, 10**400, 0.5, 1e308, float("nan")),
    *(float("inf"), "", "x", "nan", "\x00", "points999999999", "ibug68", [], {}, [[]], [1, 2]),
    *([[1, 2]] * 3, {"x": 1}, [None], ["a"], [[float("nan")] * 2] * 68),
)

Mutator = Callable[[random.Random, bytes], bytes]


def mutate(rng: random.Random, seeds: Sequence[bytes], structure: str = "bytes") -> bytes:
    """Makes one damaged file.

    Args:
        rng: Decides everything.
        seeds: Good files.
        structure: What the files are: a key of `STRUCTURES`.

    Returns:
        The file; rarely one of the seeds unchanged.
    """
    content = rng.choice(seeds)
    if rng.random() < 0.02:
        return rng.randbytes(rng.randrange(200))
    structured = STRUCTURES[structure]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if structured and rng.random() < 0.7:
            content = rng.choice(structured)(rng, content)
        else:
            content = rng.choice(PLAIN)(rng, content)
    if rng.random() < 0.05:
        other = rng.choice(seeds)
        content = content[: _place(rng, content)] + other[_place(rng, other) :]
    return content


def _place(rng: random.Random, content: bytes) -> int:
    """A position, near the ends more often, where files have their structure."""
    end = len(content)
    kind = rng.random()
    if kind < 0.35:
        return rng.randrange(min(end, 512) + 1)
    return max(0, end - rng.randrange(2048)) if kind < 0.45 else rng.randrange(end + 1)


def _bits(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 4, 16))):
        place = _place(rng, content)
        if place < len(changed):
            changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _byte(rng: random.Random, content: bytes) -> bytes:
    place = _place(rng, content)
    value = rng.choice((0, 1, 10, 32, 127, 128, 255, rng.randrange(256)))
    return content[:place] + bytes([value]) + content[place + 1 :]


def _number(rng: random.Random, content: bytes) -> bytes:
    size = rng.choice((1, 2, 4, 4, 8))
    place = _place(rng, content)
    if rng.random() < 0.7:
        place -= place % size
    if place + size > len(content):
        return content
    order = rng.choice(("little", "little", "big"))
    if rng.random() < 0.6:
        value = rng.choice(NUMBERS)
    else:
        value = int.from_bytes(content[place : place + size], order) + rng.choice((-4, -1, 1, 4))
    value %= 1 << 8 * size
    return content[:place] + value.to_bytes(size, order) + content[place + size :]


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: _place(rng, content)]


def _piece(rng: random.Random, content: bytes) -> bytes:
    """Leaves a piece out, doubles it, or writes it over another place."""
    start = _place(rng, content)
    end = start + rng.choice((1, 4, 8, 64, 1024))
    piece, target = content[start:end], _place(rng, content)
    kind = rng.randrange(4)
    if kind == 0:
        return content[:start] + content[end:]
    if kind == 1:
        return content[:end] + piece * rng.choice((1, 2, 100)) + content[end:]
    if kind == 2:
        return content[:target] + piece + content[target + len(piece) :]
    return content[:start] + rng.randbytes(len(piece)) + content[end:]


PLAIN: tuple[Mutator, ...] = (_bits, _byte, _number, _cut, _piece)


def _token(rng: random.Random, content: bytes) -> bytes:
    """Replaces a number or a word of a text."""
    tokens = [m.span() for m in re.finditer(rb"[\w.+-]+", content[:200_000])]
    if not tokens:
        return content
    start, end = rng.choice(tokens)
    token = rng.choice(TOKENS).encode("utf-8", "surrogatepass")
    if rng.random() < 0.3:
        start = end = rng.choice((start, end))
    return content[:start] + token + content[end:]


def _lines(rng: random.Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    place = rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines[place:place] = [lines[place]] * rng.choice((1, 2, 300))
    elif kind == 2:
        other = rng.randrange(len(lines))
        lines[place], lines[other] = lines[other], lines[place]
    else:
        lines[place] = lines[place].replace(b" ", rng.choice((b"", b"\t", b"  ", b"\r", b",")))
    return b"\n".join(lines)


def _json_value(rng: random.Random, content: bytes) -> bytes:
    """Replaces, removes or adds a value somewhere in a JSON document."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return _token(rng, content)
    holders: list[Any] = []

    def collect(value: Any) -> None:
        if isinstance(value, (dict, list)) and value:
            holders.append(value)
            for inner in value.values() if isinstance(value, dict) else value[:50]:
                collect(inner)

    collect(document)
    if not holders:
        return json.dumps(rng.choice(VALUES)).encode()
    holder = rng.choice(holders)
    keys = list(holder) if isinstance(holder, dict) else range(len(holder))
    key, kind = rng.choice(keys), rng.randrange(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice(("x", "", "a" * 1000, *map(str, holder)))] = holder[key]
    elif kind == 1:
        holder.extend([holder[key]] * rng.choice((1, 100)))
    else:
        holder[key] = rng.choice(VALUES)
    try:
        return json.dumps(document).encode()
    except (ValueError, RecursionError):
        return content


def _zip_member(rng: random.Random, content: bytes) -> bytes:
    """Damages a member of a ZIP archive, often its header; its checksum stays right."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:
        return content
    if not members:
        return content
    name = rng.choice(list(members))
    kind = rng.randrange(6)
    if kind == 0:
        del members[name]
    elif kind == 1:
        members[rng.choice((*members, "x.npy", "../x"))] = members[name]
    elif kind == 2:
        members[name] = rng.choice(PLAIN)(rng, members[name])
    else:
        members[name] = npy_header(rng, members[name])
    out = io.BytesIO()
    packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(out, "w", packing, compresslevel=1) as archive:
        for key, value in members.items():
            archive.writestr(key, value)
    return out.getvalue()


def npy_header(rng: random.Random, content: bytes) -> bytes:
    """Damages the header of a NumPy array, whose length stays right."""
    if content[:6] != b"\x93NUMPY" or len(content) < 12:
        return rng.choice(PLAIN)(rng, content)
    length = int.from_bytes(content[8:10], "little")
    header, data = content[10 : 10 + length], content[10 + length :]
    kind = rng.randrange(4)
    if kind == 0:
        header = _token(rng, header)
    elif kind == 1:
        types = ("|V0", "|O", "<f8", "<f2", "|i1", "<U1", "<U0", "|b1", "<c16", "<M8[s]", ">i8")
        header = re.sub(rb"'descr': [^,]*", f"'descr': '{rng.choice(types)}'".encode(), header)
    elif kind == 2:
        shapes = ("()", "(0, 68, 2)", "(1000000000,)", "(9999999999999, 0, 2)", "(-1, 68, 2)")
        shapes += ("(2, 68, 3)", "(1, 1, 2)", "(True, 68, 2)", "(2, 10**9)", "(68, 2)", "(1.5,)")
        header = re.sub(rb"\([^)]*\)", rng.choice(shapes).encode(), header)
    else:
        header = rng.choice(PLAIN)(rng, header)
    header = header[:60_000]
    return content[:8] + struct.pack("<H", len(header)) + header + data


def _zlib_streams(rng: random.Random, content: bytes) -> bytes:
    """Damages the inside of a compressed element of a MATLAB 5 file."""
    if content[126:128] != b"IM" or len(content) < 136:
        return content
    parts, place = [], 128
    while place + 8 <= len(content):
        kind, size = struct.unpack_from("<II", content, place)
        parts.append((kind, content[place + 8 : place + 8 + size]))
        place += 8 + size
    chosen = rng.randrange(len(parts))
    out = [content[:128]]
    for i, (kind, part) in enumerate(parts):
        if i == chosen and kind == 15:
            with contextlib.suppress(zlib.error):
                part = zlib.compress(rng.choice(PLAIN)(rng, zlib.decompress(part)))
        repeat = rng.choice((0, 2, 50)) if i == chosen and rng.random() < 0.1 else 1
        out += [struct.pack("<II", kind, len(part)) + part] * repeat
    return b"".join(out)


def _png_chunk(rng: random.Random, content: bytes) -> bytes:
    """Damages a chunk of a PNG file, whose checksum stays right."""
    if content[:4] != b"\x89PNG":
        return rng.choice(PLAIN)(rng, content)
    place, out = 8, [content[:8]]
    count = content.count(b"IDAT") + 3
    chosen = rng.randrange(count)
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        kind, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + size]
        place += 12 + size
        if len(out) - 1 == chosen:
            if kind == b"IDAT" and rng.random() < 0.5:
                with contextlib.suppress(zlib.error):
                    data = zlib.compress(rng.choice(PLAIN)(rng, zlib.decompress(data)))
            else:
                data = rng.choice(PLAIN)(rng, data)
        checked = kind + data
        out.append(struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked)))
    return b"".join(out)


STRUCTURES: dict[str, tuple[Mutator, ...]] = {
    "bytes": (),
    "text": (_token, _token, _lines),
    "json": (_json_value, _json_value, _token),
    "npz": (_zip_member,),
    "zip": (_zip_member,),
    "npy": (npy_header,),
    "mat": (_zlib_streams,),
    "image": (_png_chunk,),
}
"""Mutations that know a format, by the format's name."""
