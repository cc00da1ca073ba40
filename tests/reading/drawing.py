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
ADAM7 = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


def chunk(kind: bytes, body: bytes = b"", crc: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def ihdr(
    width: int,
    height: int,
    depth: int = 8,
    colour: int = GRAY,
    methods: tuple[int, int, int] = (0, 0, 0),
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
    stream = zlib.compress(
        b"".join(scanlines(part, filters) for part in passes if part.size), level
    )
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
        guesses = (
            PREDICT[kind](a, b, c) for a, b, c in zip(padded, over[step:], over, strict=False)
        )
        out += bytes([kind]) + bytes(
            (x - guess) % 256 for x, guess in zip(raw, guesses, strict=False)
        )
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


def indexed(
    indices: npt.NDArray[np.uint8],
    palette: Sequence[tuple[int, int, int]],
    depth: int = 8,
    *,
    alpha: bytes | None = None,
    interlace: bool = False,
) -> bytes:
    """Draw (H, W) indices of a palette, with so many bits each."""
    before = [chunk(b"PLTE", bytes(level for entry in palette for level in entry))]
    before += [] if alpha is None else [chunk(b"tRNS", alpha)]
    passes = [indices[r::dr, c::dc] for r, c, dr, dc in ADAM7] if interlace else [indices]
    raw = b"".join(b"\0" + packed(row, depth) for part in passes if part.size for row in part)
    head = ihdr(indices.shape[1], indices.shape[0], depth, PALETTE, (0, 0, int(interlace)))
    return b"".join([SIGNATURE, head, *before, chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND")])


def packed(row: npt.NDArray[np.uint8], depth: int) -> bytes:
    """Put values of so many bits into bytes, the first value highest."""
    bits = "".join(f"{value:0{depth}b}" for value in row.tolist())
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def strict_read(data: bytes, *, ids: bool = False) -> Pixels | None:
    """Read a PNG that is grey in one form or another, or a label image; None for any other file.

    Nothing is forgiven: each checksum is looked at, and each byte of the image data is used.
    """
    try:
        return _read(data, ids)
    except (AssertionError, IndexError, ValueError, struct.error, zlib.error):
        return None


def _read(data: bytes, ids: bool) -> Pixels:
    chunks = _read_chunks(data)
    critical = [(kind, body) for kind, body in chunks if kind[:1].isupper()]
    assert chunks[0][0] == critical[0][0] == b"IHDR"
    assert critical.pop() == chunks[-1] == (b"IEND", b"")
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", critical.pop(0)[1])
    assert width * height > 0
    assert depth in ((1, 2, 4, 8) if colour == PALETTE else (8, 16))
    assert colour in (
        (GRAY, GRAY_ALPHA, PALETTE) if ids else (GRAY, GRAY_ALPHA, PALETTE, RGB, RGBA)
    )
    assert rest in ([0, 0, 0], [0, 0, 1])
    assert {kind for kind, _ in chunks}.isdisjoint({b"acTL", b"fcTL", b"fdAT"})
    palette = b""
    if colour in (RGB, RGBA, PALETTE) and critical[0][0] == b"PLTE":
        palette = critical.pop(0)[1]
        assert len(palette) in range(3, 3 * 256 + 1, 3)
    kinds = [kind for kind, _ in chunks]
    first, number = kinds.index(b"IDAT"), kinds.count(b"IDAT")
    assert kinds[first : first + number] == [b"IDAT"] * number == [kind for kind, _ in critical]
    raw = _inflate(b"".join(body for _, body in critical))
    samples = {GRAY: 1, PALETTE: 1, GRAY_ALPHA: 2, RGB: 3, RGBA: 4}[colour]
    assert len(raw) * 8 > width * height * samples * depth
    pixels = np.zeros((height, width, samples), "=u2" if depth == 16 else "=u1")
    parts = [pixels[r::dr, c::dc] for r, c, dr, dc in ADAM7] if rest[2] else [pixels]
    for part in parts:
        if part.size:
            raw = _read_scanlines(raw, part, depth)
    assert raw == b""
    if colour == PALETTE:
        assert 0 < len(palette) // 3 <= 2**depth
        return _read_palette(pixels[..., 0], palette, chunks, ids)
    if colour in (GRAY_ALPHA, RGBA):
        assert (pixels[..., -1] == 2**depth - 1).all()
    if colour in (RGB, RGBA):
        assert (pixels[..., :3] == pixels[..., :1]).all()
    return pixels[..., 0]


def _read_palette(
    indices: Pixels, palette: bytes, chunks: Sequence[tuple[bytes, bytes]], ids: bool
) -> Pixels:
    entries = [palette[i : i + 3] for i in range(0, len(palette), 3)]
    assert indices.max() < len(entries)
    if ids:
        return indices
    assert all(len(set(entries[i])) == 1 for i in indices.ravel().tolist())
    kinds = [kind for kind, _ in chunks]
    if b"tRNS" in kinds:
        assert kinds.count(b"tRNS") == 1
        assert kinds.index(b"tRNS") < kinds.index(b"IDAT")
        alpha = dict(chunks)[b"tRNS"]
        assert all(i >= len(alpha) or alpha[i] == 255 for i in indices.ravel().tolist())
    return np.array([entry[0] for entry in entries], np.uint8)[indices]


def _read_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    assert data[:8] == SIGNATURE
    at, chunks = 8, []
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert kind.isalpha()
        assert data[at : at + 12 + length] == chunk(kind, body)
        chunks.append((kind, body))
        at += 12 + length
    return chunks


def _inflate(data: bytes) -> bytes:
    inflate = zlib.decompressobj()
    raw = inflate.decompress(data)
    assert inflate.eof
    assert not inflate.unused_data
    return raw


def _read_scanlines(raw: bytes, pixels: Pixels, depth: int) -> bytes:
    """Fill (H, W, C) pixels, and return the bytes that are left."""
    height, width, samples = pixels.shape
    step = max(samples * depth // 8, 1)
    stride = 1 + (width * samples * depth + 7) // 8
    assert len(raw) >= stride * height
    above = bytes(stride - 1 + step)
    for y in range(height):
        line = raw[y * stride : (y + 1) * stride]
        row = bytearray(step)
        for i, x in enumerate(line[1:], step):
            row.append((x + PREDICT[line[0]](row[i - step], above[i], above[i - step])) % 256)
        above = bytes(row)
        if depth < 8:
            bits = np.unpackbits(np.frombuffer(row[step:], np.uint8)).reshape(-1, depth)
            pixels[y, :, 0] = (bits @ 2 ** np.arange(depth)[::-1])[:width]
        else:
            pixels[y] = np.frombuffer(row[step:], f">u{pixels.itemsize}").reshape(width, samples)
    return raw[stride * height :]
