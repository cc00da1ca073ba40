from __future__ import annotations

import bz2
import io
import lzma
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, integer_dtypes, unsigned_integer_dtypes

from hpastore.errors import RejectedError
from hpastore.reading import MAX_CELLS, MAX_PIXELS, MAX_SIDE, decode_mask
from hpastore.vocabulary import FAILURE_CODES, MAX_MASK_ID
from tests.conftest import Figure

from .drawing import png
from .mutations import Canary

NPZ, NPY, PNG = Path("a.npz"), Path("a.npy"), Path("a_cellmask.png")
IDS = np.arange(12, dtype=np.uint16).reshape(3, 4)


def npy(array: npt.NDArray[Any], version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def headed(header: str, body: bytes = b"", major: int = 1) -> bytes:
    """An array file with this text as its header."""
    size = struct.pack("<H" if major == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([major, 0]) + size + header.encode("latin-1") + body


def claim(
    descr: str = "'<u2'", shape: str = "(3, 4)", fortran: str = "False", body: bytes = bytes(24)
) -> bytes:
    """An array file that claims this about its body."""
    return headed(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n", body)


def npz(*members: bytes, names: tuple[str, ...] = (), method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for i, member in enumerate(members):
            archive.writestr(names[i] if names else f"arr_{i}.npy", member)
    return file.getvalue()


def patched(data: bytes, local: int, central: int, value: bytes) -> bytes:
    """Overwrite the same field of the first member in both of its headers."""
    out = bytearray(data)
    for start in (local, data.index(b"PK\x01\x02") + central):
        out[start : start + len(value)] = value
    return bytes(out)


def patched_offset(data: bytes, offset: int) -> bytes:
    at = data.index(b"PK\x01\x02") + 42
    return data[:at] + struct.pack("<L", offset) + data[at + 4 :]


def far_away(data: bytes) -> bytes:
    """Say that the only member begins at byte 2**64 - 1, in the 64-bit form of the directory."""
    entry, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    directory = bytearray(data[entry:end] + struct.pack("<HHQ", 1, 8, 2**64 - 1))
    directory[30:32], directory[42:46] = b"\x0c\0", b"\xff" * 4
    size = struct.pack("<L", len(directory))
    return data[:entry] + bytes(directory) + data[end : end + 12] + size + data[end + 16 :]


def twice_the_same_name() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return npz(npy(IDS), npy(IDS + 1), names=("arr_0.npy", "arr_0.npy"))


def rejected_arrays() -> Iterator[tuple[str, str, bytes]]:
    """What makes an array file no mask, whether zipped or not."""
    plain = npy(IDS)
    yield "not_mask", "empty", b""
    yield "not_mask", "magic only", b"\x93NUMPY"
    yield "not_mask", "magic and version", b"\x93NUMPY\x01\x00"
    yield "not_mask", "text", b"not an array at all"
    yield "not_mask", "unknown version", plain[:6] + b"\x09" + plain[7:]
    yield "not_mask", "version 0", plain[:6] + b"\0" + plain[7:]
    yield "not_mask", "version 1.1", plain[:7] + b"\1" + plain[8:]
    yield "not_mask", "cut in the header", plain[:60]
    yield "not_mask", "cut after the header", plain[:128]
    yield "not_mask", "one byte missing", plain[:-1]
    yield "not_mask", "one byte more", plain + b"\0"
    yield "not_mask", "header longer than the file", headed("{", b"")[:8] + b"\xff\xff" + bytes(50)
    yield "not_mask", "header of 4 GB", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(50)
    yield (
        "not_mask",
        "header with 2,000 spaces behind",
        headed(
            "{'descr': '<u2', 'fortran_order': False, 'shape': (3, 4), }" + " " * 2000, bytes(24)
        ),
    )
    yield "not_mask", "header of 20,000 spaces", headed(" " * 20_000)
    yield "not_mask", "header that runs code", headed("__import__('os').abort()")
    yield "not_mask", "header of brackets", headed("[" * 900)
    yield "not_mask", "header of minus signs", headed("-" * 900 + "1")
    yield (
        "not_mask",
        "header without shape",
        headed("{'descr': '<u2', 'fortran_order': False, }", bytes(24)),
    )
    yield (
        "not_mask",
        "header with one more key",
        headed("{'descr': '<u2', 'fortran_order': False, 'shape': (3, 4), 'x': 1}", bytes(24)),
    )
    yield "not_mask", "order neither C nor Fortran", claim(fortran="None")
    for shape in ("()", "(12,)", "(1, 3, 4)", "(3, 4, 1)", "(1, 1, 3, 4)"):
        yield "not_mask", f"shape {shape}", claim(shape=shape)
    yield "not_mask", "negative side", claim(shape="(-3, -4)")
    yield "not_mask", "side that is a float", claim(shape="(3.0, 4.0)")
    yield "not_mask", "shape larger than the data", claim(shape="(8192, 8192)")
    yield "not_mask", "shape smaller than the data", claim(shape="(2, 4)")
    yield "too_large", "no rows", npy(np.zeros((0, 4), np.uint8))
    yield "too_large", "no columns", npy(np.zeros((4, 0), np.uint8))
    yield "too_large", "one side too long", npy(np.zeros((1, MAX_SIDE + 1), np.uint8))
    yield (
        "too_large",
        "a pixel too many",
        claim("'|u1'", shape=f"({MAX_SIDE}, {MAX_PIXELS // MAX_SIDE + 1})"),
    )
    yield "too_large", "a terabyte", claim(shape="(1000000, 1000000)")
    yield "too_large", "a side of 500 digits", claim(shape=f"(1, {'9' * 500})")

    yield "pickle", "objects", npy(np.array([[1, None]], object))
    yield "pickle", "objects by header", claim("'|O'")
    yield "pickle", "objects in a record", claim("[('a', '<u2'), ('b', '|O')]")
    for protocol in (2, 3, 4, 5):
        yield "pickle", f"raw pickle of protocol {protocol}", pickle.dumps(IDS, protocol)
    yield "not_mask", "raw pickle of protocol 0", pickle.dumps({"a": 1}, 0)

    for dtype in ("f2", "f4", "f8", ">f8", "c8", "c16", "U3", "S2", "M8[s]", "m8[s]", "V4"):
        yield "dtype", f"dtype {dtype}", npy(np.zeros((3, 4), dtype))
    yield "dtype", "record", npy(np.zeros((3, 4), [("a", "<u2"), ("b", "<u2")]))
    for descr in ("|V0", "|S0", "<u3", "<u16", "<i128", "u", "", "<b2", "u2\x1b[31m"):
        yield "dtype", f"descr {descr!a}", claim(f"'{descr}'", body=b"")
    yield "dtype", "descr without quotes", claim("2")

    for kind in ("i1", "i2", "<i4", ">i8"):
        yield "label_range", f"negative {kind}", npy(np.array([[0, -1]], kind))
    yield "label_range", "lowest id", npy(np.array([[0, -(2**63)]], np.int64))
    for kind in ("i8", "u8"):
        yield "label_range", f"2**32 as {kind}", npy(np.array([[0, MAX_MASK_ID + 1]], kind))
    crowd = np.arange(MAX_CELLS + 1)[None, :] + 1
    crowd = np.pad(np.resize(crowd, (64, 1024)), 1)
    yield "too_many_cells", "a cell too many", npy(crowd)
    yield "too_many_cells", "a cell too many, large ids", npy((crowd * 65_537).astype(np.uint32))
    yield (
        "too_many_cells",
        "a cell too many in every row",
        npy(np.tile(crowd.astype(np.int32), (3, 1))),
    )
    yield "label_range", "highest id", npy(np.array([[0, 2**64 - 1]], np.uint64))


def rejected_archives() -> Iterator[tuple[str, str, bytes]]:
    one = npz(npy(IDS))
    end = one.index(b"PK\x05\x06")
    yield "not_mask", "empty", b""
    yield "not_mask", "not a zip", b"PK\x03\x04" + bytes(90)
    yield "not_mask", "an archive behind something", b"#!/bin/sh\n" + one
    yield "not_mask", "an array without archive", npy(IDS)
    yield "not_mask", "a PNG", png(IDS)
    yield "not_mask", "no members", npz()
    yield "not_mask", "two arrays of other names", npz(npy(IDS), npy(IDS), names=("a.npy", "b.npy"))
    yield "not_mask", "arr_0 twice", twice_the_same_name()
    yield "not_mask", "a member that is no array", npz(b"hello", names=("arr_0.txt",))
    yield "not_mask", "arr_0 without suffix", npz(npy(IDS), names=("arr_0",))
    yield "not_mask", "an archive in an archive", npz(one, names=("arr_0.npz",))
    yield "not_mask", "an archive that is called an array", npz(one)
    yield "not_mask", "a folder", npz(b"", names=("arr_0.npy/",))
    yield "not_mask", "100 members", npz(npy(IDS), *[b""] * 99)
    yield "not_mask", "BZ2", npz(npy(IDS), method=zipfile.ZIP_BZIP2)
    yield "not_mask", "LZMA", npz(npy(IDS), method=zipfile.ZIP_LZMA)
    yield "not_mask", "encrypted", patched(one, 6, 8, b"\x01\0")
    yield "not_mask", "patch data", patched(one, 6, 8, b"\x20\0")
    yield "not_mask", "unknown compression", patched(one, 8, 10, b"\x63\0")
    yield "not_mask", "stored, says the header", patched(one, 8, 10, b"\0\0")
    yield "not_mask", "wrong checksum", patched(one, 14, 16, b"\1\2\3\4")
    yield "not_mask", "size too small", patched(one, 22, 24, struct.pack("<I", 150))
    short = claim(shape="(3, 8)")
    yield (
        "not_mask",
        "header and directory agree, data short",
        patched(npz(short), 22, 24, struct.pack("<I", len(short) + 24)),
    )
    yield "not_mask", "size too large", patched(one, 22, 24, struct.pack("<I", 2**32 - 2))
    yield "not_mask", "name differs in the directory", one[: end - 9] + b"brr_0.npy" + one[end:]
    yield "not_mask", "no directory", one[: one.index(b"PK\x01\x02")]
    yield "not_mask", "member elsewhere", far_away(one)
    yield "not_mask", "member at the end", patched_offset(one, len(one) - 10)
    yield "not_mask", "directory elsewhere", one[: end + 16] + b"\xff\xff\xff\x7f" + one[end + 20 :]
    for percent in (10, 50, 90, 99):
        yield "not_mask", f"cut at {percent} %", one[: len(one) * percent // 100]
    yield "not_mask", "gzip", b"\x1f\x8b" + bytes(40)
    yield "not_mask", "bz2 file", bz2.compress(npy(IDS))
    yield "not_mask", "xz file", lzma.compress(npy(IDS))
    yield "pickle", "objects beside", npz(npy(np.array([[1, None]], object)), npy(IDS))


ARRAYS = list(rejected_arrays())
ARCHIVES = list(rejected_archives())


def assert_rejected(code: str, data: bytes, path: Path) -> None:
    with pytest.raises(RejectedError) as caught:
        decode_mask(data, path)
    assert caught.value.code == code
    assert code in FAILURE_CODES
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("path", [NPY, NPZ], ids=str)
@pytest.mark.parametrize(
    ("code", "data"), [(c, d) for c, _, d in ARRAYS], ids=[i for _, i, _ in ARRAYS]
)
def test_an_array_that_is_no_mask_is_rejected_with_its_code(
    code: str, data: bytes, path: Path
) -> None:
    assert_rejected(code, npz(data) if path == NPZ else data, path)


@pytest.mark.parametrize(
    ("code", "data"), [(c, d) for c, _, d in ARCHIVES], ids=[i for _, i, _ in ARCHIVES]
)
def test_an_archive_without_one_sound_array_is_rejected_with_its_code(
    code: str, data: bytes
) -> None:
    assert_rejected(code, data, NPZ)


def test_the_corpus_of_rejected_masks_covers_fifty_kinds(figure: Figure) -> None:
    cases = ARRAYS + ARCHIVES
    kinds = len({data for _, _, data in cases})
    assert kinds >= 50
    figure(
        f"npz: {kinds} kinds of bad files are rejected with their codes, {len(ARRAYS)} of them as npy too"
    )
    assert {code for code, _, _ in cases} == {
        *("not_mask", "too_large", "pickle", "dtype", "label_range", "too_many_cells")
    }


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("png", png(IDS)[:-1]),
        ("not_gray", png(np.zeros((3, 4, 3), np.uint8))),
        ("not_gray", png(np.full((3, 4, 4), 255, np.uint8))),
        ("not_png", b"\xff\xd8\xff"),
    ],
)
def test_a_png_mask_must_be_a_sound_grey_png(code: str, data: bytes) -> None:
    assert_rejected(code, data, PNG)


@pytest.mark.parametrize("name", ["a.tif", "a.npy.gz", "a", "npz"])
def test_a_file_with_another_suffix_is_no_mask(name: str) -> None:
    assert_rejected("not_mask", npy(IDS), Path(name))


@pytest.mark.parametrize("bury", [lambda data: data, npz], ids=["npy", "npz"])
@pytest.mark.parametrize("record", [False, True])
def test_nothing_is_unpickled(tmp_path: Path, record: bool, bury: Any) -> None:
    canary = tmp_path / "hatched"
    objects: npt.NDArray[Any] = np.empty((1, 1), [("a", object)] if record else object)
    objects[0, 0] = (Canary(canary),) if record else Canary(canary)
    assert_rejected("pickle", bury(npy(objects)), NPY if bury is not npz else NPZ)
    raw = pickle.dumps(Canary(canary))
    assert_rejected("pickle", bury(raw), NPY if bury is not npz else NPZ)
    assert not canary.exists()


def test_a_float_mask_is_rejected_with_the_cure() -> None:
    with pytest.raises(RejectedError, match=r"mask\.astype\(np\.uint32\)"):
        decode_mask(npy(np.zeros((3, 4))), NPY)


HUGE = claim(shape="(8192, 8192)")


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("not_mask", npz(HUGE)),
        ("too_large", npz(claim("'<u8'", shape="(1000000, 1000000)"))),
        ("not_mask", npz(bytes(50 << 20))),
        ("not_mask", npz(npy(np.zeros((1, 1), np.uint8)) + bytes(50 << 20))),
        ("not_mask", patched(npz(HUGE), 22, 24, struct.pack("<I", len(HUGE) - 24 + 2**27))),
        ("not_mask", npz(*[b""] * 5_000)),
    ],
    ids=["shape", "terabytes", "bomb", "bomb behind an array", "directory agrees", "5,000 members"],
)
def test_a_lie_about_its_size_makes_nothing_large_allocated(code: str, data: bytes) -> None:
    tracemalloc.start()
    try:
        assert_rejected(code, data, NPZ)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


ids = integer_dtypes(endianness="?") | unsigned_integer_dtypes(endianness="?")
masks = ids.flatmap(
    lambda dtype: arrays(
        dtype,
        array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.integers(0, min(MAX_MASK_ID, int(np.iinfo(dtype).max))),
    )
)


@settings(deadline=None)
@given(masks, st.booleans(), st.sampled_from([(1, 0), (2, 0), (3, 0)]))
def test_a_mask_of_any_integers_comes_back_exactly(
    mask: npt.NDArray[np.integer], fortran: bool, version: tuple[int, int]
) -> None:
    data = npy(np.asfortranarray(mask) if fortran else mask, version)
    for got in (
        decode_mask(data, NPY),
        decode_mask(npz(data), NPZ),
        decode_mask(npz(data, method=zipfile.ZIP_STORED), NPZ),
    ):
        np.testing.assert_array_equal(got, mask)
        assert got.dtype == (
            np.uint32 if mask.dtype.itemsize == 8 else mask.dtype.newbyteorder("=")
        )
        assert got.dtype.isnative
        assert got.flags.c_contiguous
        assert got.flags.aligned


@settings(deadline=None)
@given(
    arrays(st.sampled_from([np.uint8, np.uint16]), array_shapes(min_dims=2, max_dims=2, max_side=9))
)
def test_a_mask_drawn_as_png_comes_back_exactly(mask: npt.NDArray[Any]) -> None:
    np.testing.assert_array_equal(decode_mask(png(mask), PNG), mask, strict=True)


def test_booleans_become_zeros_and_ones_whatever_bytes_they_are_stored_as() -> None:
    got = decode_mask(claim("'|b1'", shape="(1, 4)", body=b"\0\1\2\xff"), NPY)
    np.testing.assert_array_equal(got, np.array([[0, 1, 1, 1]], np.uint8), strict=True)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ("cells.npy", "nuclei.npy"),
            "it holds cells, nuclei, but must hold one array, or one arr_0; save",
        ),
        (("arr_0.npy", "arr_0.npy"), "it holds arr_0, arr_0, but must"),
        (("a\x1b[2J.npy", "b.txt"), r"it holds a\\x1b\[2J, b.txt, but must"),
        (tuple(f"{n}.npy" for n in range(7)), "it holds 0, 1, 2, 3, 4 and 2 more, but must"),
        (("x" * 99 + ".npy", "b.npy"), f"it holds {'x' * 31}…, b, but must"),
        (("mask.txt",), "it holds mask.txt, but must"),
        ((), "it is no archive|it holds nothing, but must"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_message_names_the_arrays_that_an_archive_holds(
    names: tuple[str, ...], said: str
) -> None:
    with pytest.raises(RejectedError, match=said) as caught:
        decode_mask(npz(*(npy(IDS) for _ in names), names=names), NPZ)
    assert caught.value.code == "not_mask"
    assert str(caught.value).isprintable()


def test_arr_0_is_taken_from_among_several_arrays() -> None:
    np.testing.assert_array_equal(decode_mask(npz(npy(IDS), npy(IDS + 1)), NPZ), IDS)


def test_a_single_array_is_taken_whatever_its_name() -> None:
    np.testing.assert_array_equal(decode_mask(npz(npy(IDS), names=("cells.npy",)), NPZ), IDS)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_saves_is_read(save: Any) -> None:
    file = io.BytesIO()
    save(file, IDS)
    np.testing.assert_array_equal(decode_mask(file.getvalue(), NPZ), IDS, strict=True)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<u2', 'fortran_order': False, 'shape': (3, 4), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (3, 4)}   \n",
        "{'descr':'<u2','fortran_order':False,'shape':(3,4)}",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (3L, 4L), }\n",
    ],
)
def test_headers_of_other_writers_are_understood(header: str) -> None:
    got = decode_mask(headed(header, IDS.tobytes()), NPY)
    np.testing.assert_array_equal(got, IDS, strict=True)
    assert got.flags.aligned


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((3, 4), np.uint8),
        np.zeros((2048, 2048), np.uint16),
        np.full((3, 4), 7, np.uint8),
        np.array([[0, MAX_MASK_ID]], np.uint32),
        np.array([[0, MAX_MASK_ID]], np.int64),
        np.array([[1]], np.uint8),
        np.zeros((1, MAX_SIDE), np.uint8),
        np.arange(MAX_CELLS + 1, dtype=np.uint16).reshape(256, 256),
        65_537 * np.arange(MAX_CELLS + 1, dtype=np.int64).reshape(256, 256),
        np.repeat(np.arange(MAX_CELLS - 9, MAX_CELLS + 9), 2).reshape(2, 18),
    ],
    ids=[
        "empty",
        "empty and large",
        "one label everywhere",
        "highest id",
        "highest id in int64",
        "one pixel",
        "widest",
        "most cells",
        "most cells of large ids",
        "few cells of large ids",
    ],
)
def test_odd_but_valid_masks_are_read(mask: npt.NDArray[np.integer]) -> None:
    got = decode_mask(npz(npy(mask)), NPZ)
    np.testing.assert_array_equal(got, mask)
    assert got.dtype == (np.uint32 if mask.itemsize == 8 else mask.dtype)


def test_a_suffix_in_capitals_is_the_same_suffix() -> None:
    np.testing.assert_array_equal(decode_mask(npy(IDS), Path("A.NPY")), IDS)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([NPZ, NPY, PNG]))
def test_noise_is_rejected_and_nothing_worse(noise: bytes, path: Path) -> None:
    with pytest.raises(RejectedError):
        decode_mask(noise, path)


def test_real_masks_are_what_numpy_loads(data: Path) -> None:
    paths = sorted((data / "hpa" / "hpa_cell_mask").glob("*.npz"))
    assert paths
    for path in paths:
        with np.load(path) as archive:
            np.testing.assert_array_equal(
                decode_mask(path.read_bytes(), path), archive["arr_0"], strict=True
            )
