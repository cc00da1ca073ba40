"""Damage sound files in many ways; mutation `n` of a kind is always the same one."""

from __future__ import annotations

import bz2
import io
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .drawing import SIGNATURE, chunk, indexed, png

Damage = Callable[[random.Random, bytes], bytes]


class Mutant(NamedTuple):
    name: str
    """What the file is called; its suffix says how it is read."""
    data: bytes


class Canary:
    """Unpickled, it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def mutant(kind: str, n: int, canary: Path) -> Mutant:
    """Mutation `n` of the kinds png, mask and table; a pickle in it would make the canary's folder."""
    rng = random.Random(f"{kind} {n}")
    name, data = rng.choice(_SOUND[kind](canary))
    special = {".png": _OF_PNG, ".npz": _OF_ZIP, ".npy": _OF_ARRAY, ".csv": _OF_TABLE}[name[-4:]]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(special if rng.random() < 0.6 else _OF_BYTES)(rng, data)
    return Mutant(name, data)


# Sound files


@cache
def _sound_pngs(_: Path) -> list[Mutant]:
    rng = np.random.default_rng(3)

    def noise(
        shape: tuple[int, ...], dtype: type[np.uint8 | np.uint16] = np.uint8
    ) -> npt.NDArray[Any]:
        return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)

    smooth = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8)
    rgb = np.repeat(noise((7, 8, 1)), 3, axis=2)
    text = [chunk(b"tEXt", b"Comment\0hello"), chunk(b"gAMA", bytes(4)), chunk(b"tRNS", bytes(2))]
    files = [
        png(noise((1, 1))),
        png(noise((12, 9)), filters=range(5)),
        png(noise((9, 12), np.uint16), filters=range(5), cut=64),
        png(noise((5, 21), np.uint16), before=text),
        png(smooth, cut=32, filters=(1, 2, 4)),
        png(np.zeros((64, 64), np.uint8)),
        png(noise((11, 10)), interlace=True, filters=range(5)),
        png(noise((6, 5), np.uint16), interlace=True, cut=40),
        png(rgb, filters=range(5)),
        png(np.concatenate([rgb, np.full((7, 8, 1), 255, np.uint8)], axis=2), cut=100),
        png(rgb, interlace=True, before=[chunk(b"PLTE", bytes(6))]),
        png(np.repeat(noise((6, 5, 1), np.uint16), 3, axis=2)),
        png(np.dstack([noise((6, 5)), np.full((6, 5), 255, np.uint8)]), filters=range(5)),
        indexed(noise((7, 9)) % 200, [(v, v, v) for v in range(200)], alpha=b"\xff" * 9),
        indexed(noise((7, 9)) % 16, [(v, v, v) for v in range(16)], 4),
        indexed(noise((7, 9)) % 2, [(9, 9, 9), (7, 7, 7)], 1, interlace=True),
        png(smooth, level=0, after=[chunk(b"tIME", bytes(7))]),
    ]
    return [Mutant("a_green.png", data) for data in files]


@cache
def _sound_masks(canary: Path) -> list[Mutant]:
    ids = np.arange(30, dtype=np.uint16).reshape(5, 6)
    cells = np.kron(ids, np.ones((4, 4), np.uint16))
    objects: npt.NDArray[Any] = np.full((5, 6), Canary(canary), object)
    arrays = [
        ids,
        cells,
        ids.astype(np.uint8),
        ids.astype(">i4"),
        np.asfortranarray(ids.astype(np.int64)),
    ]
    arrays += [ids > 5, ids.astype(np.uint64) << 26, ids.astype(np.float32), objects]
    files = [Mutant("a.npy", _npy(array)) for array in arrays]
    files += [Mutant("a.npz", _npz(_npy(array))) for array in arrays]
    files += [
        Mutant("a.npz", _npz(_npy(cells), method=zipfile.ZIP_STORED)),
        Mutant("a.npz", _npz(_npy(ids), _npy(cells), _npy(objects))),
        Mutant("a.npz", _npz(_npy(cells), method=zipfile.ZIP_LZMA)),
        Mutant("a_cellmask.png", png(ids, filters=range(5))),
        Mutant("a_cellmask.png", png(cells.astype(np.uint8), cut=50)),
        Mutant(
            "a_cellmask.png", indexed(cells.astype(np.uint8), [(v % 4, 0, 99) for v in range(30)])
        ),
        Mutant("a_cellmask.png", indexed(cells.astype(np.uint8) % 4, [(9, 9, 9)] * 4, 2)),
    ]
    return files


@cache
def _sound_tables(_: Path) -> list[Mutant]:
    plain = "ID,Label\na,3\nb,3|5\nc-1,18\nd.e,0|1|2\n"
    texts = [
        plain,
        plain.replace("\n", "\r\n"),
        plain.replace(",", "\t"),
        plain.replace(",", ";"),
        plain.replace(",", ", "),
        ",ID,Label\n0,a,3.0\n1,b,16.0\n2,c,\n",
        "\ufeff" + plain,
        'ID,Note,Label\n"a","two\nlines",3\nb,"a ""quote""",5|7\nc,,0\n',
        "Label,ID\n0,a\n1,A1\n2,b\n2,b\n",
    ]
    return [Mutant("train.csv", text.encode()) for text in texts]


_SOUND = {"png": _sound_pngs, "mask": _sound_masks, "table": _sound_tables}


def _npy(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def _npz(*members: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for i, member in enumerate(members):
            archive.writestr(zipfile.ZipInfo(f"arr_{i}.npy"), member, method)
    return file.getvalue()


# Damage to any file


def _flip(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(min(len(data), rng.choice((1, 1, 2, 8)))):
        out[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _change(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(min(len(data), rng.choice((1, 1, 4, 16)))):
        out[rng.randrange(len(data))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return bytes(out)


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _lose(rng: random.Random, data: bytes) -> bytes:
    start, stop = _range(rng, data)
    return data[:start] + data[stop:]


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 4, 30))) + data[at:]


def _repeat(rng: random.Random, data: bytes) -> bytes:
    start, stop = _range(rng, data)
    return data[:stop] + data[start:]


def _blank(rng: random.Random, data: bytes) -> bytes:
    """Zeros where a disk lost a block."""
    start, stop = _range(rng, data)
    return data[:start] + bytes(stop - start) + data[stop:]


def _append(rng: random.Random, data: bytes) -> bytes:
    return data + rng.choice((b"\0", rng.randbytes(9), data))


def _range(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 8, 64)))


_OF_BYTES: Sequence[Damage] = (
    _flip,
    _flip,
    _change,
    _cut,
    _lose,
    _insert,
    _repeat,
    _blank,
    _append,
)


# Damage to a PNG, chunk by chunk


class _Chunk(NamedTuple):
    kind: bytes
    body: bytes
    crc: int | None = None


def _chunks(data: bytes) -> list[_Chunk]:
    """As far as there are any."""
    at, chunks = 8, []
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            break
        body = data[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", data, at + 8 + length)
        chunks.append(_Chunk(kind, body, crc))
        at += 12 + length
    return chunks


def _joined(chunks: Sequence[_Chunk]) -> bytes:
    return SIGNATURE + b"".join(chunk(*part) for part in chunks)


def _of_chunks(damage: Callable[[random.Random, list[_Chunk]], None]) -> Damage:
    def damaged(rng: random.Random, data: bytes) -> bytes:
        chunks = _chunks(data)
        if chunks:
            damage(rng, chunks)
        return _joined(chunks)

    return damaged


@_of_chunks
def _double_a_chunk(rng: random.Random, chunks: list[_Chunk]) -> None:
    at = rng.randrange(len(chunks))
    chunks.insert(rng.choice((at, rng.randrange(len(chunks) + 1))), chunks[at])


@_of_chunks
def _swap_chunks(rng: random.Random, chunks: list[_Chunk]) -> None:
    a, b = rng.randrange(len(chunks)), rng.randrange(len(chunks))
    chunks[a], chunks[b] = chunks[b], chunks[a]


@_of_chunks
def _lose_a_chunk(rng: random.Random, chunks: list[_Chunk]) -> None:
    del chunks[rng.randrange(len(chunks))]


@_of_chunks
def _add_a_chunk(rng: random.Random, chunks: list[_Chunk]) -> None:
    kind = rng.choice(
        (b"tEXt", b"acTL", b"PLTE", b"IDAT", b"ABCD", b"abcd", b"iCCP", b"eXIf", b"IEND", b"a\0b1")
    )
    chunks.insert(
        rng.randrange(len(chunks) + 1), _Chunk(kind, rng.randbytes(rng.choice((0, 1, 3, 26))))
    )


@_of_chunks
def _rename_a_chunk(rng: random.Random, chunks: list[_Chunk]) -> None:
    at = rng.randrange(len(chunks))
    kind = bytearray(chunks[at].kind)
    kind[rng.randrange(4)] ^= rng.choice((32, 32, 1, 128))
    chunks[at] = _Chunk(bytes(kind), chunks[at].body)


@_of_chunks
def _damage_a_body(rng: random.Random, chunks: list[_Chunk]) -> None:
    """Under a right checksum."""
    at = rng.randrange(len(chunks))
    body = rng.choice(_OF_BYTES)(rng, chunks[at].body) if chunks[at].body else b"\0"
    chunks[at] = _Chunk(chunks[at].kind, body)


@_of_chunks
def _change_the_header(rng: random.Random, chunks: list[_Chunk]) -> None:
    """One field, under a right checksum."""
    fields = list(struct.unpack(">IIBBBBB", chunks[0].body[:13].ljust(13, b"\0")))
    at = rng.randrange(7)
    sides = (0, 1, fields[0] - 1, fields[1] + 1, 2 * fields[0], 8192, 16384, 2**31, 2**32 - 1)
    fields[at] = rng.choice(sides) % 2**32 if at < 2 else rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    chunks[0] = _Chunk(b"IHDR", struct.pack(">IIBBBBB", *fields))


@_of_chunks
def _cut_the_stream_elsewhere(rng: random.Random, chunks: list[_Chunk]) -> None:
    """Which changes nothing, if it was sound."""
    size = rng.choice((1, 7, 100))
    _replace_stream(chunks, _stream(chunks), size)


@_of_chunks
def _damage_the_pixels(rng: random.Random, chunks: list[_Chunk]) -> None:
    """The scanlines, in a sound stream."""
    try:
        raw = zlib.decompress(_stream(chunks))
    except zlib.error:
        return
    damaged = rng.choice(_OF_BYTES)(rng, raw) if raw else b"\0"
    _replace_stream(chunks, zlib.compress(damaged, rng.choice((0, 1, 9))), 100)


@_of_chunks
def _repair_checksums(_: random.Random, chunks: list[_Chunk]) -> None:
    chunks[:] = [_Chunk(kind, body) for kind, body, _ in chunks]


def _stream(chunks: Sequence[_Chunk]) -> bytes:
    return b"".join(body for kind, body, _ in chunks if kind == b"IDAT")


def _replace_stream(chunks: list[_Chunk], stream: bytes, cut: int) -> None:
    at = next((i for i, part in enumerate(chunks) if part.kind == b"IDAT"), len(chunks))
    chunks[:] = [part for part in chunks if part.kind != b"IDAT"]
    chunks[at:at] = [_Chunk(b"IDAT", stream[i : i + cut]) for i in range(0, len(stream), cut)]


def _change_a_length(rng: random.Random, data: bytes) -> bytes:
    starts = [8]
    for part in _chunks(data)[:-1]:
        starts.append(starts[-1] + 12 + len(part.body))
    at = rng.choice(starts)
    length = int.from_bytes(data[at : at + 4], "big")
    changed = (
        rng.choice((0, length + 1, length - 1, length + 12, 2**31 - 1, 2**31, 2**32 - 1)) % 2**32
    )
    out = data[:at] + struct.pack(">I", changed) + data[at + 4 :]
    return _joined([_Chunk(k, b) for k, b, _ in _chunks(out)]) if rng.random() < 0.5 else out


def _splice_pngs(rng: random.Random, data: bytes) -> bytes:
    other = rng.choice(_sound_pngs(Path())).data
    if rng.random() < 0.5:
        return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other)) :]
    a, b = _chunks(data), _chunks(other)
    return _joined([*a[: rng.randrange(len(a) + 1)], *b[rng.randrange(len(b)) :]])


_OF_PNG: Sequence[Damage] = (
    *(_double_a_chunk, _swap_chunks, _lose_a_chunk, _add_a_chunk, _rename_a_chunk, _damage_a_body),
    *(_change_the_header, _cut_the_stream_elsewhere, _damage_the_pixels, _repair_checksums),
    *(_change_a_length, _splice_pngs),
)


# Damage to an array and to an archive of arrays


def _change_the_text(rng: random.Random, data: bytes) -> bytes:
    """Of an array's header, and its length or not."""
    end = data.find(b"\n")
    if end < 0:
        return data
    text = data[10:end]
    others = {
        b"<u2": (b"<i2", b">u2", b"|u1", b"<u4", b"<f2", b"|O", b"|V2", b"<U1", b"|S0", b"|b1"),
        b"False": (b"True ", b"True", b"None", b"0"),
        b"(5, 6)": (
            b"(6, 5)",
            b"(5, 5)",
            b"(30,)",
            b"(5, 6, 1)",
            b"(-5, -6)",
            b"(5, 1e9)",
            b"(0, 6)",
        ),
        b"'shape'": (b"'shaqe'", b"'shape' "),
        b"}": (b"", b"}}", b", 'x': 1}", b"} + 1"),
    }
    old = rng.choice(sorted(others))
    text = text.replace(old, rng.choice(others[old]))
    size = struct.pack("<H", len(text) + 1) if rng.random() < 0.5 else data[8:10]
    return data[:8] + size + text + data[end:]


def _splice_arrays(rng: random.Random, data: bytes) -> bytes:
    """The header of one and the ids of another, or a header under the length of another."""
    other = rng.choice([sound.data for sound in _sound_masks(Path()) if sound.name == "a.npy"])
    if rng.random() < 0.5:
        return data[: _end_of_header(data)] + other[_end_of_header(other) :]
    return other[:10] + data[10:]


def _change_the_ids(rng: random.Random, data: bytes) -> bytes:
    body = _end_of_header(data)
    return data[:body] + _change(rng, data[body:]) if data[body:] else data


def _end_of_header(data: bytes) -> int:
    return data.find(b"\n") + 1


_OF_ARRAY: Sequence[Damage] = (_change_the_text, _change_the_text, _splice_arrays, _change_the_ids)


_IN_BOTH = ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2))
_IN_ENTRY = ((4, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4))
_IN_END = ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2))
"""Offset and size of the fields of a zip archive: of a member's header, the directory, and its end."""


def _change_a_field(rng: random.Random, data: bytes) -> bytes:
    """Of the first member's two headers, of the second alone, or of the directory's end."""
    local, entry, end = (
        data.find(b"PK\x03\x04"),
        data.find(b"PK\x01\x02"),
        data.rfind(b"PK\x05\x06"),
    )
    if min(local, entry, end) < 0:
        return data
    fields = rng.choice((_IN_BOTH, _IN_ENTRY, _IN_END))
    at, size = rng.choice(fields)
    places = {_IN_BOTH: [local + at, entry + at + 2], _IN_ENTRY: [entry + at], _IN_END: [end + at]}[
        fields
    ]
    value = rng.choice(
        (0, 1, 2, 8, 9, 12, 14, 99, 2**16 - 1, 2**31, 2**32 - 1, rng.randrange(2**32))
    )
    out = bytearray(data)
    for place in places:
        if place + size <= len(out):
            old = int.from_bytes(out[place : place + size], "little")
            new = rng.choice((value, old + 1, old - 1)) % 256**size
            out[place : place + size] = new.to_bytes(size, "little")
    return bytes(out)


def _damage_a_member(rng: random.Random, data: bytes) -> bytes:
    """What is in the archive, which itself is sound again."""
    members = [_damage_an_array(rng, member) for member in _members(data)]
    return _npz(*members, method=rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def _damage_an_array(rng: random.Random, data: bytes) -> bytes:
    return rng.choice((*_OF_ARRAY, *_OF_BYTES))(rng, data) if data else data


def _rename_a_member(rng: random.Random, data: bytes) -> bytes:
    new = rng.choice(
        (b"arr_1.npy", b"arr_0.npz", b"../ar.npy", b"arr_0\0npy", b"/rr_0.npy", b"ARR_0.NPY")
    )
    return data.replace(b"arr_0.npy", new, rng.choice((1, 2)))


def _add_a_member(rng: random.Random, data: bytes) -> bytes:
    others = (b"", b"hello", bz2.compress(b"x"), _npy(np.ones((5, 6), np.uint8)))
    members = [*_members(data), rng.choice(others)]
    rng.shuffle(members)
    return _npz(*members)


def _members(data: bytes) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from [archive.read(name) for name in archive.namelist()[:4]]
    except Exception:  # whatever zipfile raises of a damaged archive
        return


def _splice_archives(rng: random.Random, data: bytes) -> bytes:
    other = rng.choice([sound.data for sound in _sound_masks(Path()) if sound.name == "a.npz"])
    at, entry = data.find(b"PK\x01\x02"), other.find(b"PK\x01\x02")
    return (
        data[:at] + other[entry:]
        if rng.random() < 0.5
        else data[: rng.randrange(len(data) + 1)] + other
    )


_OF_ZIP: Sequence[Damage] = (
    *(_change_a_field, _change_a_field, _change_a_field, _damage_a_member, _damage_a_member),
    *(_rename_a_member, _add_a_member, _splice_archives),
)


# Damage to a table


_WORDS = (
    *(
        ",",
        "\t",
        "\n",
        "\r",
        "\r\n",
        '"',
        '""',
        "|",
        "||",
        " ",
        "0",
        "19",
        "-1",
        "3.0",
        "\0",
        "é",
        "=1",
        "'",
    ),
    *(
        "a",
        "../a",
        "x" * 200,
        "ID",
        "Label",
        "nan",
        "#",
        ";",
        "\u0663",
        "\ufeff",
        "\u2028",
        "\x0b",
        "\x85",
    ),
)


def _put_a_word(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_WORDS).encode() + data[at + rng.choice((0, 0, 1)) :]


def _move_a_line(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    line = lines[rng.randrange(len(lines))]
    if rng.random() < 0.5:
        lines.remove(line)
    lines.insert(rng.randrange(len(lines) + 1), line)
    return b"\n".join(lines)


def _write_otherwise(rng: random.Random, data: bytes) -> bytes:
    encoding = rng.choice(("utf-16", "utf-16-le", "latin-1", "utf-8-sig"))
    return data.decode("utf-8", "replace").encode(encoding, "replace")


_OF_TABLE: Sequence[Damage] = (*5 * (_put_a_word,), *2 * (_move_a_line,), _write_otherwise)
