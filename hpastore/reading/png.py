"""Decode grey PNGs, and nothing that only resembles one.

OpenCV decodes whatever it recognises: a JPEG called ``.png``, the first frame of an animation,
1-bit pixels stretched to 0..255, the first rows where a damaged header announces fewer than there
are.  So the chunks are checked here first, OpenCV gets the critical ones only, and what libpng
complains of is refused: no gamma, transparency, orientation or text can change a pixel or reach a
parser.  Pillow is no alternative: it fills the missing rows of a cut stream with zeros and says
nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from hpastore.errors import RejectedError
from hpastore.reading.limits import MAX_PIXELS, MAX_RATIO, require_size
from hpastore.runtime.opencv import cv2

Gray: TypeAlias = npt.NDArray[np.uint8 | np.uint16]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_OTHERS: Final = {b"\xff\xd8\xff": "a JPEG", b"II*\0": "a TIFF", b"MM\0*": "a TIFF"}
_ANIMATED: Final = {b"acTL", b"fcTL", b"fdAT"}
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_SAMPLES: Final = {_RGB: 3, _GRAY_ALPHA: 2, _RGBA: 4}
_DEPTHS: Final = {_PALETTE: (1, 2, 4, 8)}
_USUAL_DEPTHS: Final = (8, 16)

_MAX_DEEP_PIXELS: Final = MAX_PIXELS // 2
"""With alpha, each takes twice the memory of one of 8 bits."""

# Writers cut the data every 8 KiB; this many such chunks would be 2 GiB.
_MAX_CHUNKS: Final = 2**18

_STDERR_LOCK: Final = threading.Lock()

_COMPLAINT: Final = re.compile(rb"libpng (?:error|warning): ([ -~]{1,100})")

_LEVELS: Final = ((np.arange(2**16) + 128) // 257).astype(np.uint8)


class _Chunk(NamedTuple):
    kind: bytes
    start: int
    stop: int
    """Half-open, from the length to past the checksum."""


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int


def decode_gray(data: bytes, path: Path) -> Gray:
    """Decode a grey PNG of 8 or 16 bits, exactly.

    A picture in another form is grey where its pixels are: RGB with equal channels, a palette of
    whose entries those that are used are grey, each of them opaque.

    Parameters
    ----------
    data
        The whole file.
    path
        Its name, for the errors.

    Returns
    -------
    (H, W) uint8 or uint16
        As stored in the file; of a palette, its levels.

    Raises
    ------
    RejectedError
        ``not_png``, ``png`` (damaged), ``too_large``, ``animated``, ``not_gray`` or
        ``bit_depth``.
    """
    chunks = _chunks(data, path)
    header = _check_header(data, chunks, path)
    if header.colour == _PALETTE:
        return _palette_levels(_indices(data, chunks, header, path), data, chunks, path)
    return _single_channel(_pixels(data, chunks, header, path), path)


def decode_ids(data: bytes, path: Path) -> Gray:
    """Decode a label image: a grey PNG of 8 or 16 bits, or the indices of one with a palette.

    A palette only colours the ids for the eye.  Its colours may repeat, so that two ids have one,
    and that of the background need not be black.  RGB is never a label image: it may hold one id in
    three bytes.

    Parameters
    ----------
    data
        The whole file.
    path
        Its name, for the errors.

    Returns
    -------
    (H, W) uint8 or uint16

    Raises
    ------
    RejectedError
        As of `decode_gray`.
    """
    chunks = _chunks(data, path)
    header = _check_header(data, chunks, path)
    if header.colour in (_RGB, _RGBA):
        reason = "is an RGB image, which does not tell the ids; save them as a grey PNG or as .npz"
        raise RejectedError("not_gray", path, reason)
    if header.colour == _PALETTE:
        return _indices(data, chunks, header, path)
    return _single_channel(_pixels(data, chunks, header, path), path)


def to_uint8(channel: Gray) -> npt.NDArray[np.uint8]:
    """Bring grey levels to 0..255: ``(v + 128) // 257`` for 16 bits, as they are for 8.

    Parameters
    ----------
    channel
        (H, W) uint8 or uint16.

    Returns
    -------
    (H, W) uint8
        The very argument where that is uint8.

    Examples
    --------
    >>> to_uint8(np.array([[0, 128, 129, 65535]], np.uint16))
    array([[  0,   0,   1, 255]], dtype=uint8)
    """
    if channel.dtype == np.uint8:
        return channel.astype(np.uint8, copy=False)
    # At 2048² this takes 1 ms, `_LEVELS[channel]` 6.
    return cv2.LUT(channel, _LEVELS).astype(np.uint8, copy=False)


def _chunks(data: bytes, path: Path) -> list[_Chunk]:
    """Find the chunks from signature to end."""
    if not data.startswith(_SIGNATURE):
        found = next(
            (name for magic, name in _OTHERS.items() if data.startswith(magic)), "not a PNG"
        )
        raise RejectedError(
            "not_png", path, f"is {found}, whatever its name says; save it as a grey PNG"
        )
    chunks: list[_Chunk] = []
    view, start = memoryview(data), len(_SIGNATURE)
    while not chunks or chunks[-1].kind != b"IEND":
        if len(data) < start + 12:
            raise _damaged_error(path, "it ends early")
        length, kind = struct.unpack_from(">I4s", data, start)
        stop = start + 12 + length
        if not kind.isalpha() or len(chunks) == _MAX_CHUNKS:
            raise _damaged_error(path, f"no chunk can start at byte {start}")
        if len(data) < stop:
            raise _damaged_error(path, "it ends early")
        if zlib.crc32(view[start + 4 : stop - 4]) != _number(view[stop - 4 : stop]):
            raise _damaged_error(path, f"the checksum of chunk {kind.decode()} is wrong")
        chunks.append(_Chunk(kind, start, stop))
        start = stop
    if start != len(data):
        raise _damaged_error(path, f"{len(data) - start} bytes follow its end")
    return chunks


def _number(data: memoryview) -> int:
    return int.from_bytes(data, "big")


def _critical(data: bytes, chunks: list[_Chunk], header: _Header) -> bytes:
    """The file without chunks that decoding does not need, its image data in one.

    libpng says nothing of chunks behind the end of the compressed stream, but of a chunk that goes
    on. Indices of a palette are read as grey levels: OpenCV would make colours of them.
    """
    view = memoryview(data)
    stream = b"".join(view[c.start + 8 : c.stop - 4] for c in chunks if c.kind == b"IDAT")
    needed = [c for c in chunks if c.kind[:1].isupper()]
    first = [c.kind for c in needed].index(b"IDAT")
    head = [view[c.start : c.stop] for c in needed[:first]]
    tail = [view[c.start : c.stop] for c in needed[first:] if c.kind != b"IDAT"]
    if header.colour == _PALETTE:
        head = [view[c.start : c.stop] for c in needed[1:first] if c.kind != b"PLTE"]
        body = bytearray(view[needed[0].start + 8 : needed[0].stop - 4])
        body[9] = _GRAY
        head.insert(0, memoryview(_chunk(b"IHDR", bytes(body))))
    return b"".join([_SIGNATURE, *head, _chunk(b"IDAT", stream), *tail])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return b"".join([struct.pack(">I", len(body)), kind, body, _checksum(kind, body)])


def _checksum(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _check_header(data: bytes, chunks: list[_Chunk], path: Path) -> _Header:
    """Refuse what is not ours to decode, and return what the pixels must be."""
    kinds = [chunk.kind for chunk in chunks]
    if kinds[0] != b"IHDR" or chunks[0].stop - chunks[0].start != 12 + 13:
        raise _damaged_error(path, "it has no proper header")
    header = _Header(*struct.unpack_from(">IIBB", data, chunks[0].start + 8))
    width, height, depth, colour = header
    require_size(width, height, path)
    if not _ANIMATED.isdisjoint(kinds):
        raise RejectedError("animated", path, "is an animated PNG; save one frame as a grey PNG")
    if depth not in _DEPTHS.get(colour, _USUAL_DEPTHS):
        raise RejectedError("bit_depth", path, f"has {depth} bits per pixel; save it with 8 or 16")
    if depth == 16 and colour in _SAMPLES and width * height > _MAX_DEEP_PIXELS:
        reason = (
            f"has {width * height} pixels of 16 bits in several channels; at most "
            f"{_MAX_DEEP_PIXELS} are read"
        )
        raise RejectedError("too_large", path, f"{reason}; save one channel as a grey PNG")
    runs = [kinds[0], *(kind for before, kind in pairwise(kinds) if kind != before)]
    if runs.count(b"IDAT") != 1:
        raise _damaged_error(path, "its image data is missing or interrupted")
    if width * height * _SAMPLES.get(colour, 1) * depth // 8 > MAX_RATIO * len(data):
        raise _damaged_error(
            path, f"it cannot hold the {width} x {height} pixels that its header announces"
        )
    return header


def _pixels(data: bytes, chunks: list[_Chunk], header: _Header, path: Path) -> npt.NDArray[Any]:
    """Decode (H, W) or, of other than grey, (H, W, 3 or 4) pixels."""
    pixels, complaint = _decode(_critical(data, chunks, header))
    dtype = np.dtype(np.uint16 if header.depth == 16 else np.uint8)
    shape = header.height, header.width
    if complaint or pixels is None or pixels.shape[:2] != shape or pixels.dtype != dtype:
        raise _damaged_error(path, f"its pixels cannot be decoded{complaint}")
    return pixels


def _indices(
    data: bytes, chunks: list[_Chunk], header: _Header, path: Path
) -> npt.NDArray[np.uint8]:
    """Decode (H, W) indices of a palette, each of which has an entry."""
    entries = len(_palette(data, chunks, path))
    if entries > 2**header.depth:
        raise _damaged_error(path, "its palette has more entries than its pixels can name")
    levels = _pixels(data, chunks, header, path)
    if levels.ndim != 2:
        raise _damaged_error(path, "its pixels cannot be decoded")
    # libpng stretches grey levels of 1, 2 and 4 bits to 0..255, exactly.
    indices = np.asarray(levels // np.uint8(255 // (2**header.depth - 1)), np.uint8)
    if indices.max() >= entries:
        raise _damaged_error(
            path, f"a pixel has the index {indices.max()}, and its palette {entries} entries"
        )
    return indices


def _palette_levels(
    indices: npt.NDArray[np.uint8], data: bytes, chunks: list[_Chunk], path: Path
) -> npt.NDArray[np.uint8]:
    """Give each pixel the level of its entry, if that is grey and opaque."""
    palette = _palette(data, chunks, path)
    counts = np.asarray(cv2.calcHist([indices], [0], None, [256], [0, 256])).ravel()
    used = np.flatnonzero(counts)
    colours = palette[used]
    coloured = (colours != colours[:, :1]).any(axis=1)
    if coloured.any():
        example = ", ".join(map(str, colours[coloured][0].tolist()))
        reason = f"has a palette with colours, such as {example}; save one channel as a grey PNG"
        raise RejectedError("not_gray", path, reason)
    alpha = np.frombuffer(_body(data, chunks, b"tRNS", path), np.uint8)
    if (alpha[used[used < len(alpha)]] != 255).any():
        raise _transparent_error(path)
    levels = np.zeros(256, np.uint8)
    levels[: len(palette)] = palette[:, 0]
    return np.asarray(cv2.LUT(indices, levels), np.uint8)


def _palette(data: bytes, chunks: list[_Chunk], path: Path) -> npt.NDArray[np.uint8]:
    """Entries of the palette, (N, 3) RGB."""
    body = _body(data, chunks, b"PLTE", path)
    if not 3 <= len(body) <= 3 * 256 or len(body) % 3:
        raise _damaged_error(path, "its palette is missing or has no proper size")
    return np.frombuffer(body, np.uint8).reshape(-1, 3)


def _body(data: bytes, chunks: list[_Chunk], kind: bytes, path: Path) -> bytes:
    """The body of a chunk that comes at most once, before the image data; empty without one."""
    found = [n for n, chunk in enumerate(chunks) if chunk.kind == kind]
    if not found:
        return b""
    first_data = next(n for n, chunk in enumerate(chunks) if chunk.kind == b"IDAT")
    if len(found) > 1 or found[0] > first_data:
        raise _damaged_error(
            path, f"its chunk {kind.decode()} is there twice, or behind the image data"
        )
    chunk = chunks[found[0]]
    return data[chunk.start + 8 : chunk.stop - 4]


def _decode(png: bytes) -> tuple[npt.NDArray[Any] | None, str]:
    """Pixels, if there are any, and what libpng complained of."""
    try:
        with _libpng_messages() as hear:
            pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
            complaint = _COMPLAINT.search(hear())
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(error.err) from error
        return None, ""
    return pixels, f" ({complaint[1].decode()})" if complaint else ""


@contextmanager
def _libpng_messages() -> Iterator[Callable[[], bytes]]:
    """Lead file descriptor 2 into a pipe for a while, and give what reads from it.

    libpng prints its complaints, in C, where `sys.stderr` does not catch them; some are of files
    that OpenCV decodes all the same.  It takes 30 µs.
    """
    # Alone, since of two threads the second would save the pipe of the first.
    with _STDERR_LOCK, ExitStack() as after:
        hear, speak = _pipe()
        after.callback(os.close, hear)
        try:
            stderr = os.dup(2)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            after.callback(os.close, 2)  # as it was
        else:
            after.callback(os.close, stderr)
            after.callback(os.dup2, stderr, 2)
        os.dup2(speak, 2)
        os.close(speak)
        yield lambda: _drained(hear)


def _pipe() -> tuple[int, int]:
    """A pipe that never blocks, and takes no number of a standard stream that is closed."""
    ends = os.pipe()
    hear, speak = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends)
    for end in ends:
        os.close(end)
    os.set_blocking(hear, False)
    os.set_blocking(speak, False)
    return hear, speak


def _drained(hear: int) -> bytes:
    try:
        return os.read(hear, 2**16)
    except BlockingIOError:
        return b""


def _single_channel(pixels: npt.NDArray[Any], path: Path) -> Gray:
    """The grey levels of (H, W), or of (H, W, 3 or 4) with colours in any order, alpha last."""
    if pixels.ndim == 2:
        return pixels
    gray = pixels[..., 0]
    if any((pixels[..., i] != gray).any() for i in (1, 2)):
        raise RejectedError("not_gray", path, "is a colour image; save one channel as a grey PNG")
    if (pixels[..., 3:] != np.iinfo(pixels.dtype).max).any():
        raise _transparent_error(path)
    return np.ascontiguousarray(gray)


def _damaged_error(path: Path, reason: str) -> RejectedError:
    return RejectedError("png", path, f"is a damaged PNG: {reason}; copy or export it again")


def _transparent_error(path: Path) -> RejectedError:
    reason = "has transparent pixels; save it without transparency, as a grey PNG"
    return RejectedError("not_gray", path, reason)
