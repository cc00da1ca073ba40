"""Write PNGs chunk by chunk, and read them back with a reader that forgives nothing.

Both are slow and obvious: the twin of what `hpastore.reading` does with OpenCV.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8 | np.uint16]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
COLOURS = {1: GRAY, 2: GRAY_ALPHA, 3: RGB, 4: RGBA}
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(kind: bytes, body: bytes = b"", crc: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def ihdr(
    width: int, height: int, depth: int = 8, colour: int = GRAY, methods: tuple[int, int, int] = (0, 0, 0)
) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, *methods))


def png(
    pixels: Pixels,
    *,
    before: Iterable[bytes] = (),
    after: Iterable[bytes] = (),
    filters: Sequence[int] = (0,),
    cut: int = 2**31,
    level: int = 6,
    interlace: bool = False,
) -> bytes:
    """Draw (H, W) or (H, W, C) pixels; `before` and `after` are chunks around the image data."""
    depth = pixels.itemsize * 8
    colour = COLOURS[1 if pixels.ndim == 2 else pixels.shape[2]]
    passes = [pixels[r::dr, c::dc] for r, c, dr, dc in ADAM7] if interlace else [pixels]
    stream = zlib.compress(b"".join(scanlines(part, filters) for part in passes if part.size), level)
    body = [chunk(b"IDAT", stream[i : i + cut]) for i in range(0, len(stream), cut)]
    head = ihdr(pixels.shape[1], pixels.shape[0], depth, colour, (0, 0, int(interlace)))
    return b"".join([SIGNATURE, head, *before, *body, *after, chunk(b"IEND")])


def scanlines(pixels: Pixels, filters: Sequence[int] = (0,)) -> bytes:
    """The bytes that a PNG compresses; row r has filter ``filters[r % len(filters)]``."""
    step = pixels.itemsize * (1 if pixels.ndim == 2 else pixels.shape[2])
    out, above = bytearray(), bytes(pixels[:1].nbytes)
    for r, row in enumerate(pixels):
        kind, raw = filters[r % len(filters)], row.astype(row.dtype.newbyteorder(">")).tobytes()
        padded, over = bytes(step) + raw, bytes(step) + above
        guesses = (PREDICT[kind](a, b, c) for a, b, c in zip(padded, over[step:], over, strict=False))
        out += bytes([kind]) + bytes((x - guess) % 256 for x, guess in zip(raw, guesses, strict=False))
        above = raw
    return bytes(out)


def paeth(a: int, b: int, c: int) -> int:
    distances = [(abs(b - c), a), (abs(a - c), b), (abs(a + b - 2 * c), c)]
    return min(distances, key=lambda pair: pair[0])[1]


PREDICT: tuple[Callable[[int, int, int], int], ...] = (
    lambda _a, _b, _c: 0,
    lambda a, _b, _c: a,
    lambda _a, b, _c: b,
    lambda a, b, _c: (a + b) // 2,
    paeth,
)
"""By filter: the guess from the bytes at the left, above, and above left."""


def strict_read(data: bytes) -> Pixels | None:
    """Read a grey PNG, 8 or 16 bits, not interlaced; None for any other file, whatever it lacks."""
    try:
        return _read(data)
    except (AssertionError, IndexError, ValueError, struct.error, zlib.error):
        return None


def _read(data: bytes) -> Pixels:
    assert data[:8] == SIGNATURE
    at, chunks = 8, []
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert data[at : at + 12 + length] == chunk(kind, body)
        chunks.append((kind, body))
        at += 12 + length
    kinds = [kind for kind, _ in chunks]
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    assert {kind for kind in kinds if kind[:1].isupper()} == {b"IHDR", b"IDAT", b"IEND"}
    width, height, depth, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert width * height > 0
    assert depth in (8, 16)
    assert rest == [GRAY, 0, 0, 0]
    inflate = zlib.decompressobj()
    raw = inflate.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    assert inflate.eof
    assert not inflate.unused_data
    step = depth // 8
    stride = 1 + width * step
    assert len(raw) == stride * height
    out, above = bytearray(), bytes(step + width * step)
    for start in range(0, len(raw), stride):
        row = bytearray(step)
        for i, x in enumerate(raw[start + 1 : start + stride], step):
            row.append((x + PREDICT[raw[start]](row[i - step], above[i], above[i - step])) % 256)
        out += row[step:]
        above = bytes(row)
    pixels = np.frombuffer(bytes(out), f">u{step}").reshape(height, width)
    return pixels.astype(f"=u{step}")
