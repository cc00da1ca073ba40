from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hpastore.errors import RejectedError
from hpastore.reading import MAX_SIDE, decode_gray, to_uint8
from hpastore.reading.png import decode_ids
from hpastore.vocabulary import FAILURE_CODES
from tests.conftest import Figure

from .drawing import (
    GRAY,
    GRAY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    SIGNATURE,
    Pixels,
    chunk,
    ihdr,
    indexed,
    png,
    scanlines,
    strict_read,
)

NAME = Path("a_green.png")
RNG = np.random.default_rng(0)
IM8 = RNG.integers(0, 256, (12, 9), np.uint8)
IM16 = RNG.integers(0, 2**16, (12, 9), np.uint16)
GREY_RGB = np.repeat(IM8[..., None], 3, axis=2)
GREY_RGBA = np.dstack([GREY_RGB, np.full_like(IM8, 255)])
GREYS = [(v, v, v) for v in range(256)]
INDICES = np.append(RNG.integers(1, 255, 106, np.uint8), np.array([0, 255], np.uint8)).reshape(
    12, 9
)
END = chunk(b"IEND")


def raw_png(head: bytes, *body: bytes) -> bytes:
    return b"".join([SIGNATURE, head, *body, END])


def idat(raw: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(raw))


def any_pixels(colour: int, depth: int, extra: bytes = b"") -> bytes:
    """A valid PNG of 12 x 9 zeros in any kind."""
    bits = depth * {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}.get(colour, 1)
    return raw_png(ihdr(9, 12, depth, colour), extra, idat(bytes(1 + (9 * bits + 7) // 8) * 12))


def sized(width: int, height: int) -> bytes:
    return raw_png(ihdr(width, height), idat(bytes(100)))


def flip(data: bytes, at: int, mask: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def stream(data: bytes) -> bytes:
    """A PNG of IM8 with this as its compressed data, checksum right."""
    return raw_png(ihdr(9, 12), chunk(b"IDAT", data))


def rejected() -> Iterator[tuple[str, str, bytes]]:
    plain, deep = png(IM8), png(IM16)
    packed = zlib.compress(scanlines(IM8))
    raw = scanlines(IM8)
    text = chunk(b"tEXt", b"Comment\0hello")

    yield "not_png", "empty", b""
    yield "not_png", "one byte", b"\x89"
    yield "not_png", "cut signature", SIGNATURE[:7]
    yield "not_png", "text", b"not an image\n"
    yield "not_png", "zeros", bytes(4096)
    yield "not_png", "JPEG", cv2.imencode(".jpg", IM8)[1].tobytes()
    yield "not_png", "TIFF", cv2.imencode(".tiff", IM8)[1].tobytes()
    yield "not_png", "big-endian TIFF", b"MM\0*" + bytes(60)
    yield "not_png", "BMP", cv2.imencode(".bmp", IM8)[1].tobytes()
    yield "not_png", "WebP", cv2.imencode(".webp", GREY_RGB)[1].tobytes()
    yield "not_png", "GIF", b"GIF89a" + bytes(60)
    yield "not_png", "line ends translated", plain.replace(b"\r\n", b"\n")
    yield "not_png", "high bit lost", b"\x09" + plain[1:]
    yield "not_png", "byte order mark in front", b"\xef\xbb\xbf" + plain

    for percent in (10, 25, 50, 75, 90, 99):
        yield "png", f"8 bits cut at {percent} %", plain[: len(plain) * percent // 100]
        yield "png", f"16 bits cut at {percent} %", deep[: len(deep) * percent // 100]
    yield "png", "signature only", SIGNATURE
    yield "png", "no IEND", plain[: -len(END)]
    yield "png", "IEND without checksum", plain[:-4]
    yield "png", "IEND with wrong checksum", flip(plain, len(plain) - 1)
    yield "png", "IEND only", SIGNATURE + END
    yield "png", "no IHDR", raw_png(b"", idat(raw))
    yield "png", "IHDR second", raw_png(text, ihdr(9, 12), idat(raw))
    yield "png", "IHDR twice", raw_png(ihdr(9, 12), ihdr(9, 12), idat(raw))
    yield "png", "IHDR short", raw_png(chunk(b"IHDR", bytes(12)), idat(raw))
    yield "png", "IHDR long", raw_png(chunk(b"IHDR", bytes(14)), idat(raw))
    yield "png", "IHDR with wrong checksum", flip(plain, 8 + 8 + 13)
    yield "png", "IHDR with a flipped bit", flip(plain, 8 + 8 + 3)
    yield "png", "no IDAT", raw_png(ihdr(9, 12))
    yield "png", "empty IDAT", stream(b"")
    yield "png", "IDAT with wrong checksum", raw_png(ihdr(9, 12), chunk(b"IDAT", packed, crc=1))
    yield "png", "IDAT with a flipped bit", flip(plain, plain.index(b"IDAT") + 20)
    yield (
        "png",
        "IDAT interrupted",
        raw_png(ihdr(9, 12), chunk(b"IDAT", packed[:40]), text, chunk(b"IDAT", packed[40:])),
    )
    yield "png", "IDAT after IEND", raw_png(ihdr(9, 12), END, idat(raw))
    yield "png", "wrong Adler-32", stream(flip(packed, len(packed) - 1))
    yield "png", "no Adler-32", stream(packed[:-4])
    yield "png", "flipped bit, checksum repaired", stream(flip(packed, 20))
    yield "png", "stream cut, checksum repaired", stream(packed[: len(packed) // 2])
    yield "png", "half the rows", stream(zlib.compress(raw[: len(raw) // 2]))
    yield "png", "a row missing", stream(zlib.compress(raw[:-10]))
    yield "png", "a byte missing", stream(zlib.compress(raw[:-1]))
    yield "png", "no pixels", stream(zlib.compress(b""))
    yield "png", "rows beyond the height", raw_png(ihdr(9, 10), idat(raw))
    yield "png", "a row too many", stream(zlib.compress(raw + bytes(10)))
    yield "png", "a byte too many", stream(zlib.compress(raw + b"\0"))
    yield (
        "png",
        "interlaced, a row too many",
        raw_png(ihdr(9, 12, methods=(0, 0, 1)), idat(bytes(200))),
    )
    yield "png", "a byte behind the stream", stream(packed + b"\0")
    yield "png", "the stream twice", stream(packed + packed)
    yield "png", "an IDAT behind the stream", png(IM8, after=[chunk(b"IDAT", b"\0")])
    yield (
        "png",
        "the last IDAT twice",
        png(IM8, cut=64, after=[chunk(b"IDAT", packed[len(packed) // 64 * 64 :])]),
    )
    yield "png", "more pixels than the file can hold", raw_png(ihdr(8192, 8192), idat(bytes(9000)))
    yield "png", "filter 5", stream(zlib.compress(b"\x05" + raw[1:]))
    yield "png", "filter 255 in the last row", stream(zlib.compress(raw[:-10] + b"\xff" + raw[-9:]))
    yield "png", "no zlib header", stream(packed[2:])
    yield "png", "stream of noise", stream(RNG.bytes(200))
    yield "png", "zlib window too large", stream(b"\x88\x1c" + packed[2:])
    yield "png", "unknown critical chunk", png(IM8, before=[chunk(b"ABCD")])
    yield "png", "chunk name with digits", png(IM8, before=[chunk(b"ab1d")])
    yield "png", "chunk name of zeros", png(IM8, before=[chunk(bytes(4))])
    yield "png", "text with wrong checksum", png(IM8, before=[chunk(b"tEXt", b"a\0b", crc=1)])
    for length in (200, 2**31 - 1, 2**31, 2**32 - 1):
        yield "png", f"chunk of {length} bytes", plain[:33] + struct.pack(">I", length) + plain[37:]
    yield "png", "too many chunks", png(IM8, before=[chunk(b"hpAa") * 2**18])
    yield "png", "trailing byte", plain + b"\0"
    yield "png", "trailing PNG", plain + plain
    yield "png", "unknown compression", raw_png(ihdr(9, 12, methods=(1, 0, 0)), idat(raw))
    yield "png", "unknown filter method", raw_png(ihdr(9, 12, methods=(0, 1, 0)), idat(raw))
    yield "png", "unknown interlacing", raw_png(ihdr(9, 12, methods=(0, 0, 2)), idat(raw))
    yield (
        "png",
        "interlaced, not enough data",
        raw_png(ihdr(9, 12, methods=(0, 0, 1)), idat(raw[:60])),
    )
    for colour in (1, 5, 7, 255):
        yield "png", f"colour type {colour}", any_pixels(colour, 8)

    for width, height in [
        (0, 12),
        (9, 0),
        (0, 0),
        (MAX_SIDE + 1, 1),
        (1, MAX_SIDE + 1),
        (MAX_SIDE, 4097),
    ]:
        yield "too_large", f"{width} x {height}", sized(width, height)
    for side in (20_000, 100_000, 2**31 - 1, 2**32 - 1):
        yield "too_large", f"{side} x {side}", sized(side, side)

    for colour in (RGB, GRAY_ALPHA, RGBA):
        head = ihdr(8192, 4097, 16, colour)
        yield "too_large", f"colour type {colour} of 16 bits", raw_png(head, idat(bytes(100)))

    control = chunk(b"acTL", struct.pack(">II", 2, 0))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 9, 12, 0, 0, 1, 1, 0, 0))
    yield "animated", "animation", png(IM8, before=[control, frame])
    yield "animated", "animation without frames", png(IM8, before=[control])
    yield "animated", "frame control alone", png(IM8, before=[frame])
    yield "animated", "frame data alone", png(IM8, after=[chunk(b"fdAT", bytes(4) + packed)])

    for depth in (1, 2, 4):
        yield "bit_depth", f"{depth} bits", any_pixels(GRAY, depth)
    for depth in (0, 3, 32):
        yield "bit_depth", f"impossible {depth} bits", any_pixels(GRAY, depth)

    for depth in (0, 3, 16):
        yield (
            "bit_depth",
            f"palette of {depth} bits",
            any_pixels(PALETTE, depth, chunk(b"PLTE", bytes(3))),
        )
    for depth in (1, 2, 4):
        yield "bit_depth", f"RGB of {depth} bits", any_pixels(RGB, depth)

    for depth in (1, 2, 4, 8):
        colours = chunk(b"PLTE", bytes(range(6)))
        yield "not_gray", f"palette of {depth} bits", any_pixels(PALETTE, depth, colours)
    for channel in range(3):
        tint = list(GREYS)
        tint[255] = (255 - (channel == 0), 255 - (channel == 1), 255 - (channel == 2))
        yield (
            "not_gray",
            f"palette, the level of one entry differs in channel {channel}",
            indexed(INDICES, tint),
        )
    for place in (0, 255):
        alpha = bytes(255 - (n == place) for n in range(256))
        yield "not_gray", f"palette, entry {place} not opaque", indexed(INDICES, GREYS, alpha=alpha)
    yield "png", "no palette", any_pixels(PALETTE, 8)
    yield "png", "empty palette", any_pixels(PALETTE, 8, chunk(b"PLTE"))
    yield "png", "palette of 4 bytes", any_pixels(PALETTE, 8, chunk(b"PLTE", bytes(4)))
    yield "png", "palette of 257 entries", any_pixels(PALETTE, 8, chunk(b"PLTE", bytes(3 * 257)))
    yield "png", "palette of 3 entries, and 1 bit", any_pixels(PALETTE, 1, chunk(b"PLTE", bytes(9)))
    yield "png", "palette twice", any_pixels(PALETTE, 8, 2 * chunk(b"PLTE", bytes(3)))
    yield "png", "palette behind the pixels", png(IM8, after=[chunk(b"PLTE", bytes(3))])
    for depth in (1, 2, 4, 8):
        one = np.full((1, 3), 2**depth - 1, np.uint8)
        short = indexed(one, GREYS[: 2**depth - 1], depth)
        yield "png", f"an index of {depth} bits beyond the palette", short
    yield "png", "palette and grey", png(IM8, before=[chunk(b"PLTE", bytes(3))])
    opaque = np.dstack([IM8, np.full_like(IM8, 255)])
    yield "png", "palette, grey and alpha", png(opaque, before=[chunk(b"PLTE", bytes(3))])
    yield (
        "png",
        "palette and an unknown critical chunk",
        any_pixels(PALETTE, 8, chunk(b"PLTE", bytes(3)) + chunk(b"ABCD")),
    )
    yield (
        "png",
        "transparency of a palette twice",
        any_pixels(PALETTE, 8, chunk(b"PLTE", bytes(3)) + 2 * chunk(b"tRNS", b"\xff")),
    )
    yield "not_gray", "grey and alpha", any_pixels(GRAY_ALPHA, 8)
    yield "not_gray", "16-bit grey and alpha", any_pixels(GRAY_ALPHA, 16)
    yield (
        "not_gray",
        "16-bit grey and alpha of 8 bits",
        png(np.dstack([IM16, np.full_like(IM16, 255)])),
    )
    yield "not_gray", "16-bit RGBA", any_pixels(RGBA, 16)
    tinted_16 = np.repeat(IM16[..., None], 3, axis=2)
    tinted_16[3, 4, 1] ^= 1
    yield "not_gray", "16-bit RGB, one pixel differs in the lowest bit", png(tinted_16)
    for channel in range(3):
        blue = np.zeros_like(GREY_RGB)
        blue[5, 5, channel] = 1
        yield "not_gray", f"RGB, one pixel differs in channel {channel}", png(blue)
        tinted = GREY_RGBA.copy()
        tinted[..., channel] ^= 1
        yield "not_gray", f"RGBA, channel {channel} differs", png(tinted)
    glass = GREY_RGBA.copy()
    glass[0, 0, 3] = 254
    yield "not_gray", "RGBA, one pixel not opaque", png(glass)


def accepted() -> Iterator[tuple[str, Pixels, bytes]]:
    yield "8 bits", IM8, png(IM8)
    yield "16 bits", IM16, png(IM16)
    yield "one pixel", IM8[:1, :1], png(IM8[:1, :1])
    yield "one row", IM16[:1], png(IM16[:1])
    yield "one column", IM8[:, :1], png(IM8[:, :1])
    yield "widest", np.zeros((1, MAX_SIDE), np.uint8), png(np.zeros((1, MAX_SIDE), np.uint8))
    yield "black", np.zeros((3, 3), np.uint8), png(np.zeros((3, 3), np.uint8))
    yield (
        "saturated",
        np.full((3, 3), 2**16 - 1, np.uint16),
        png(np.full((3, 3), 2**16 - 1, np.uint16)),
    )
    yield "interlaced", IM8, png(IM8, interlace=True)
    yield "interlaced 16 bits", IM16, png(IM16, interlace=True)
    yield "interlaced, smaller than a block", IM8[:2, :1], png(IM8[:2, :1], interlace=True)
    yield "all filters", IM16, png(IM16, filters=range(5))
    yield "IDAT of one byte each", IM8, png(IM8, cut=1)
    yield "empty IDAT behind", IM8, png(IM8, after=[chunk(b"IDAT")])
    yield "not compressed", IM8, png(IM8, level=0)
    yield "equal RGB", IM8, png(GREY_RGB)
    yield "equal RGBA, opaque", IM8, png(GREY_RGBA)
    yield "equal RGB of 16 bits", IM16, png(np.repeat(IM16[..., None], 3, axis=2))
    for image, name in ((IM8, "8"), (IM16, "16")):
        opaque = np.full_like(image, np.iinfo(image.dtype).max)
        yield f"grey and alpha of {name} bits, opaque", image, png(np.dstack([image, opaque]))
        yield (
            f"equal RGBA of {name} bits, opaque",
            image,
            png(np.dstack([image, image, image, opaque])),
        )
    yield "grey palette", INDICES, indexed(INDICES, GREYS)
    yield "grey palette, interlaced", INDICES, indexed(INDICES, GREYS, interlace=True)
    yield "grey palette, inverted", 255 - INDICES, indexed(INDICES, GREYS[::-1])
    yield "grey palette, opaque", INDICES, indexed(INDICES, GREYS, alpha=b"\xff" * 256)
    for depth in (1, 2, 4):
        few, some = INDICES % 2**depth, [(v, v, v) for v in range(200, 200 - 2**depth, -1)]
        yield f"grey palette of {depth} bits", 200 - few, indexed(few, some, depth)
        yield (
            f"grey palette of {depth} bits, interlaced",
            200 - few,
            indexed(few, some, depth, interlace=True),
        )
    spared = [(v, v, v) if v < 9 else (v, 0, 0) for v in range(256)]
    yield "palette whose colours are not used", INDICES % 9, indexed(INDICES % 9, spared)
    glass = bytes(255 * (v < 9) for v in range(256))
    yield (
        "palette whose transparent levels are not used",
        INDICES % 9,
        indexed(INDICES % 9, GREYS, alpha=glass),
    )
    yield (
        "palette of one entry",
        np.full((2, 2), 7, np.uint8),
        indexed(np.zeros((2, 2), np.uint8), GREYS[7:8]),
    )
    yield "RGB with a palette to suggest", IM8, png(GREY_RGB, before=[chunk(b"PLTE", bytes(6))])
    for name, body in {
        "transparent level": (b"tRNS", struct.pack(">H", int(IM8[0, 0]))),
        "gamma": (b"gAMA", struct.pack(">I", 100_000)),
        "significant bits": (b"sBIT", b"\x04"),
        "broken colour profile": (b"iCCP", b"x\0\0" + zlib.compress(b"junk")),
        "orientation": (
            b"eXIf",
            b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
        ),
        "resolution": (b"pHYs", struct.pack(">IIB", 1, 2, 1)),
        "9 MB of text": (b"tEXt", b"Comment\0" + b"x" * (9 << 20)),
        "bomb of text": (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50 << 20))),
        "private chunk": (b"hpAa", b"\0"),
        "malformed time": (b"tIME", b"\xff" * 7),
    }.items():
        yield name, IM8, png(IM8, before=[chunk(*body)])
    yield "text behind the pixels", IM8, png(IM8, after=[chunk(b"tEXt", b"a\0b")])


BAD = list(rejected())
GOOD = list(accepted())


@pytest.mark.parametrize(("code", "data"), [(c, d) for c, _, d in BAD], ids=[i for _, i, _ in BAD])
def test_a_png_that_cannot_be_trusted_is_rejected_with_its_code(code: str, data: bytes) -> None:
    with pytest.raises(RejectedError) as caught:
        decode_gray(data, NAME)
    assert caught.value.code == code
    assert code in FAILURE_CODES
    assert caught.value.path == NAME
    assert "\n" not in str(caught.value)


def test_the_corpus_of_rejected_pngs_covers_sixty_kinds(figure: Figure) -> None:
    assert len({name for _, name, _ in BAD}) == len(BAD) >= 60
    assert len({data for _, _, data in BAD}) == len(BAD)
    figure(
        f"png: {len(BAD)} kinds of bad files are rejected with their codes, {len(GOOD)} of sound ones read"
    )
    assert {code for code, _, _ in BAD} == {
        "not_png",
        "png",
        "too_large",
        "animated",
        "bit_depth",
        "not_gray",
    }


@pytest.mark.parametrize(
    ("want", "data"), [(w, d) for _, w, d in GOOD], ids=[i for i, _, _ in GOOD]
)
def test_a_grey_png_gives_its_exact_pixels_whatever_else_it_carries(
    want: Pixels, data: bytes
) -> None:
    got = decode_gray(data, NAME)
    np.testing.assert_array_equal(got, want, strict=True)
    assert got.flags.c_contiguous


DAMAGED = raw_png(ihdr(9, 12), chunk(b"IDAT", b"damaged"))
TOO_MANY_ROWS = raw_png(ihdr(9, 10), idat(scanlines(IM8)))


def test_decoding_says_nothing_on_stderr_about_a_damaged_png_and_gives_it_back(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for _ in range(3):
        with pytest.raises(RejectedError, match="damaged"):
            decode_gray(DAMAGED, NAME)
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


@pytest.mark.parametrize("closed", [(2,), (0, 2)])
def test_decoding_works_where_stderr_is_closed_and_leaves_it_so(closed: tuple[int, ...]) -> None:
    script = f"""
import os
from pathlib import Path
from hpastore.errors import RejectedError
from hpastore.reading import decode_gray
for fd in {closed}:
    os.close(fd)
for damaged in {[DAMAGED, DAMAGED, TOO_MANY_ROWS]}:
    try:
        decode_gray(damaged, Path("a"))
    except RejectedError:
        print("refused", flush=True)
print([fd for fd in range(9) if os.path.exists(f"/dev/fd/{{fd}}")], flush=True)
"""
    run = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, check=True, text=True
    )
    *refused, left = run.stdout.splitlines()
    assert refused == ["refused"] * 3
    assert "2" not in left


def test_decoding_says_nothing_on_stderr_about_a_valid_png(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for _, _, data in GOOD:
        decode_gray(data, NAME)
    assert capfd.readouterr().err == ""


def test_threads_that_decode_at_once_neither_mix_their_complaints_nor_lose_stderr(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def outcome(n: int) -> bool:
        try:
            decode_gray(png(IM8) if n % 2 else TOO_MANY_ROWS, NAME)
        except RejectedError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(outcome, range(200))) == [False, True] * 100
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


@pytest.mark.parametrize(("magic", "name"), [(b"\xff\xd8\xff\xe0", "JPEG"), (b"II*\0", "TIFF")])
def test_the_message_names_the_format_that_a_file_really_has(magic: bytes, name: str) -> None:
    with pytest.raises(RejectedError, match=f"is a {name}, whatever its name says"):
        decode_gray(magic + bytes(99), NAME)


def test_the_message_says_what_libpng_says() -> None:
    with pytest.raises(
        RejectedError, match=r"cannot be decoded \(IDAT: Too much image data\); copy or"
    ):
        decode_gray(TOO_MANY_ROWS, NAME)


def test_what_others_write_to_stderr_meanwhile_is_no_complaint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decode(*_: object) -> Pixels:
        os.write(2, b"ingested 5 of 9\nPNG warning: none\n")
        return IM8

    monkeypatch.setattr(cv2, "imdecode", decode)
    np.testing.assert_array_equal(decode_gray(png(IM8), NAME), IM8, strict=True)


def test_a_flood_on_stderr_never_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        with pytest.raises(BlockingIOError):
            while True:
                os.write(2, b"libpng warning: " + bytes(2**16))

    monkeypatch.setattr(cv2, "imdecode", decode)
    with pytest.raises(RejectedError, match="cannot be decoded"):
        decode_gray(png(IM8), NAME)


@pytest.mark.parametrize("length", [40, 60, -1])
def test_the_message_tells_a_cut_file_from_a_damaged_one(length: int) -> None:
    with pytest.raises(RejectedError, match="it ends early"):
        decode_gray(png(IM8)[:length], NAME)


@pytest.mark.parametrize("other", [IM8[:-1], IM8.astype(np.uint16)])
def test_what_opencv_returns_must_be_what_the_header_announced(
    monkeypatch: pytest.MonkeyPatch, other: Pixels
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: other)
    with pytest.raises(RejectedError, match="cannot be decoded"):
        decode_gray(png(IM8), NAME)


@pytest.mark.parametrize("image", [GREY_RGB, GREY_RGBA])
def test_rgb_is_never_a_label_image(image: Pixels) -> None:
    with pytest.raises(
        RejectedError, match="is an RGB image, which does not tell the ids"
    ) as caught:
        decode_ids(png(image), NAME)
    assert caught.value.code == "not_gray"


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_label_image_with_a_palette_holds_its_indices_whatever_colours_they_have(
    depth: int,
) -> None:
    indices = INDICES & np.uint8(2**depth - 1)
    white_first = GREYS[::-1][: 2**depth]
    alike = [(200, 9, 9)] * 2**depth
    for palette in (white_first, alike):
        data = indexed(indices, palette, depth, alpha=b"\0")
        np.testing.assert_array_equal(decode_ids(data, NAME), indices, strict=True)
        np.testing.assert_array_equal(strict_read(data, ids=True), indices, strict=True)


@pytest.mark.parametrize("image", [IM8, IM16])
def test_a_label_image_may_have_alpha_if_it_is_opaque(image: Pixels) -> None:
    data = png(np.dstack([image, np.full_like(image, np.iinfo(image.dtype).max)]))
    np.testing.assert_array_equal(decode_ids(data, NAME), image, strict=True)
    with pytest.raises(RejectedError, match="has transparent pixels; save it without transparency"):
        decode_ids(png(np.dstack([image, np.full_like(image, 7)])), NAME)


def test_the_message_says_that_a_palette_has_colours_and_names_one() -> None:
    greys_and = [*GREYS[:255], (1, 2, 3)]
    with pytest.raises(
        RejectedError, match="has a palette with colours, such as 1, 2, 3; save one channel as"
    ):
        decode_gray(indexed(INDICES, greys_and), NAME)


def test_the_message_tells_transparency_from_colours() -> None:
    with pytest.raises(
        RejectedError, match="has transparent pixels; save it without transparency, as a grey"
    ):
        decode_gray(png(np.dstack([IM8, IM8])), NAME)
    with pytest.raises(RejectedError, match="is a colour image; save one channel"):
        decode_gray(png(np.dstack([IM8, IM8, IM8 + 1])), NAME)


def test_lack_of_memory_is_not_taken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        error = cv2.error("no room")
        error.code, error.err = cv2.Error.StsNoMem, "no room"
        raise error

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(MemoryError, match="no room"):
        decode_gray(png(IM8), NAME)


images = st.sampled_from([np.uint8, np.uint16]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=2, max_dims=2, max_side=12))
)


@settings(deadline=None)
@given(
    images, st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(1, 50), st.booleans()
)
def test_every_grey_image_comes_back_exactly(
    image: Pixels, filters: list[int], cut: int, interlace: bool
) -> None:
    data = png(image, filters=filters, cut=cut, interlace=interlace)
    np.testing.assert_array_equal(decode_gray(data, NAME), image, strict=True)


@settings(deadline=None)
@given(images, st.lists(st.integers(0, 4), min_size=1, max_size=5), st.booleans())
def test_the_strict_reader_of_the_tests_reads_what_was_drawn(
    image: Pixels, filters: list[int], interlace: bool
) -> None:
    got = strict_read(png(image, filters=filters, interlace=interlace))
    assert got is not None
    np.testing.assert_array_equal(got, image, strict=True)


def test_the_strict_reader_of_the_tests_agrees_about_each_kind() -> None:
    assert [name for _, name, data in BAD if strict_read(data) is not None] == ["too many chunks"]
    for _, want, data in GOOD:
        got = strict_read(data)
        assert got is not None
        np.testing.assert_array_equal(got, want, strict=True)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_noise_behind_a_signature_is_rejected_and_nothing_worse(noise: bytes) -> None:
    with pytest.raises(RejectedError):
        decode_gray(SIGNATURE + noise, NAME)


def test_all_16_bit_levels_are_rounded_to_8_bits() -> None:
    levels = np.arange(2**16)
    got = to_uint8(levels.astype(np.uint16).reshape(256, 256))
    assert got.dtype == np.uint8
    assert got.ravel().tolist() == [(v + 128) // 257 for v in levels.tolist()]


@pytest.mark.parametrize(
    "view", [np.s_[:1, :1], np.s_[:1], np.s_[:, :1], np.s_[::2, ::-1]], ids=str
)
def test_16_bit_levels_keep_their_place_in_any_view(view: tuple[slice, ...]) -> None:
    want = ((IM16[view].astype(np.int64) + 128) // 257).astype(np.uint8)
    np.testing.assert_array_equal(to_uint8(IM16[view]), want, strict=True)


def test_8_bit_levels_stay_as_they_are() -> None:
    assert to_uint8(IM8) is IM8


def test_a_real_16_bit_channel_decodes_as_opencv_does(data: Path) -> None:
    path = data / "odd" / "383_D2_1_blue_uint16.png"
    want: npt.NDArray[np.generic] | None = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert want is not None
    got = decode_gray(path.read_bytes(), path)
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, want, strict=True)


def test_a_real_jpeg_that_is_named_png_is_rejected(data: Path) -> None:
    path = data / "odd" / "57_F11_1_green_is_a_jpeg.png"
    with pytest.raises(RejectedError, match="is a JPEG") as caught:
        decode_gray(path.read_bytes(), path)
    assert caught.value.code == "not_png"
