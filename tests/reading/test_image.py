from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from hpastore.errors import RejectedError
from hpastore.model import FileStamp, Source
from hpastore.reading import decode, image, read_channel, read_file
from hpastore.vocabulary import CELL_MASK, CHANNELS, NUCLEUS_MASK, ROLES

from .drawing import SIGNATURE, Pixels, chunk, ihdr, png


def npz(mask: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, mask)
    return file.getvalue()


def picture(
    dtype: type[np.generic] = np.uint8, shape: tuple[int, ...] = (3, 4), start: int = 0
) -> Pixels:
    return np.arange(start, start + np.prod(shape), dtype=dtype).reshape(shape)


def world(folder: Path, **files: bytes | None) -> Source:
    """One image of 4 x 3 pixels on disk, any file replaced, or left out by None."""
    default: dict[str, bytes | None] = {
        **{role: png(picture(start=10 * i)) for i, role in enumerate(CHANNELS)},
        CELL_MASK: npz(picture(np.uint16)),
        NUCLEUS_MASK: npz(picture(np.int64)),
    }
    stamps = []
    for role, content in {**default, **files}.items():
        if content is not None:
            name = f"a_{role}.{'npz' if content.startswith(b'PK') else 'png'}"
            (folder / name).write_bytes(content)
            stamps.append(FileStamp(role, name, len(content), 0))
    return Source("a", (), tuple(stamps))


def assert_rejected(code: str, name: str, reason: str, source: Source, root: Path) -> None:
    with pytest.raises(RejectedError, match=reason) as caught:
        decode(source, root)
    assert caught.value.code == code
    assert caught.value.path == root / name
    assert str(caught.value).isprintable()


def test_an_image_is_its_channels_and_masks(tmp_path: Path) -> None:
    got = decode(world(tmp_path), tmp_path)
    assert tuple(got.channels) == CHANNELS
    for i, role in enumerate(CHANNELS):
        np.testing.assert_array_equal(got.channels[role], picture(start=10 * i), strict=True)
    np.testing.assert_array_equal(got.cell_mask, picture(np.uint16), strict=True)
    assert got.nucleus_mask is not None
    np.testing.assert_array_equal(got.nucleus_mask, picture(np.uint32), strict=True)
    assert got.bit_depth == 8


def test_the_records_are_of_the_very_bytes_in_the_order_of_the_roles(tmp_path: Path) -> None:
    source = world(tmp_path)
    got = decode(source._replace(files=source.files[::-1]), tmp_path)
    assert [record.role for record in got.files] == list(ROLES)
    for record in got.files:
        content = (tmp_path / record.uri).read_bytes()
        assert record.sha256 == hashlib.sha256(content).hexdigest()
        assert record.size == len(content)


def test_an_image_needs_no_nucleus_mask(tmp_path: Path) -> None:
    got = decode(world(tmp_path, nucleus_mask=None), tmp_path)
    assert got.nucleus_mask is None
    assert len(got.files) == 5


def test_16_bit_channels_become_8_bit_ones(tmp_path: Path) -> None:
    deep = np.array([[0, 128, 129], [257, 65406, 65535]], np.uint16)
    files = {**dict.fromkeys(CHANNELS, png(deep)), CELL_MASK: npz(deep), NUCLEUS_MASK: None}
    got = decode(world(tmp_path, **files), tmp_path)
    assert got.bit_depth == 16
    assert got.channels["green"].tolist() == [[0, 0, 1], [1, 254, 255]]


def test_a_uri_may_lie_outside_the_root(tmp_path: Path) -> None:
    source = world(tmp_path)
    outside = tuple(stamp._replace(uri=str(tmp_path / stamp.uri)) for stamp in source.files)
    got = decode(source._replace(files=outside), tmp_path / "elsewhere")
    assert got.files[0].uri == str(tmp_path / "a_red.png")


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def spy(path: Path, role: str, uri: str) -> Any:
        read.append(role)
        return read_file(path, role, uri)

    monkeypatch.setattr(image, "read_file", spy)
    decode(world(tmp_path), tmp_path)
    assert read == list(ROLES)


@pytest.mark.parametrize("role", [*CHANNELS, CELL_MASK])
def test_an_image_without_a_channel_or_cell_mask_is_rejected_naming_it(
    tmp_path: Path, role: str
) -> None:
    assert_rejected(
        "missing_file", "a", f"has no {role};", world(tmp_path, **{role: None}), tmp_path
    )


def test_an_image_without_any_file_is_rejected(tmp_path: Path) -> None:
    assert_rejected(
        "missing_file",
        "a",
        "has no red, green, blue, yellow, cell_mask",
        Source("a", (), ()),
        tmp_path,
    )


def test_a_file_that_went_since_it_was_seen_is_rejected(tmp_path: Path) -> None:
    source = world(tmp_path)
    (tmp_path / "a_blue.png").unlink()
    assert_rejected("missing_file", "a_blue.png", "does not exist", source, tmp_path)


@pytest.mark.parametrize("shape", [(4, 3), (3, 5), (1, 12), (1, 1)])
@pytest.mark.parametrize("role", ROLES[1:])
def test_files_of_different_shape_are_rejected_naming_both(
    tmp_path: Path, role: str, shape: tuple[int, int]
) -> None:
    draw: Callable[[Pixels], bytes] = png if role in CHANNELS else npz
    source = world(tmp_path, **{role: draw(picture(shape=shape))})
    name = f"a_{role}.{'png' if role in CHANNELS else 'npz'}"
    reason = rf"is {shape[1]} x {shape[0]} pixels, but a_red\.png is 4 x 3"
    assert_rejected("shape_mismatch", name, reason, source, tmp_path)


@pytest.mark.parametrize("role", CHANNELS[1:])
def test_channels_of_different_bit_depth_are_rejected_naming_both(
    tmp_path: Path, role: str
) -> None:
    source = world(tmp_path, **{role: png(picture(np.uint16))})
    reason = r"has 16 bits per pixel, but a_red\.png has 8"
    assert_rejected("depth_mismatch", f"a_{role}.png", reason, source, tmp_path)


def test_a_16_bit_mask_image_goes_with_8_bit_channels(tmp_path: Path) -> None:
    got = decode(world(tmp_path, cell_mask=png(picture(np.uint16))), tmp_path)
    np.testing.assert_array_equal(got.cell_mask, picture(np.uint16), strict=True)


def test_a_damaged_file_rejects_its_image(tmp_path: Path) -> None:
    source = world(tmp_path, yellow=png(picture())[:-1])
    assert_rejected("png", "a_yellow.png", "damaged PNG", source, tmp_path)


def test_black_and_saturated_channels_and_an_empty_mask_are_valid(tmp_path: Path) -> None:
    black, white = np.zeros((3, 4), np.uint8), np.full((3, 4), 255, np.uint8)
    source = world(
        tmp_path, red=png(black), green=png(white), cell_mask=npz(black), nucleus_mask=npz(black)
    )
    got = decode(source, tmp_path)
    assert (got.channels["red"].max(), got.channels["green"].min(), got.cell_mask.max()) == (
        0,
        255,
        0,
    )


def test_lack_of_memory_rejects_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(image, "decode_gray", fail)
    assert_rejected("memory", "a", "more memory than there is", world(tmp_path), tmp_path)


LIMITED = """
import resource, sys
from pathlib import Path
from hpastore.errors import RejectedError
from hpastore.model import FileStamp, Source
from hpastore.reading import decode
files = [FileStamp(role, "big.png", 0, 0) for role in ("red", "green", "blue", "yellow", "cell_mask")]
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**25, size + 2**25))
try:
    decode(Source("a", (), tuple(files)), Path(sys.argv[1]))
except RejectedError as error:
    print(error.code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is reliable on Linux only")
def test_a_process_under_a_real_memory_limit_rejects_the_image_and_lives(tmp_path: Path) -> None:
    side = 8192
    black = chunk(b"IDAT", zlib.compress(bytes((1 + side) * side)))
    (tmp_path / "big.png").write_bytes(SIGNATURE + ihdr(side, side) + black + chunk(b"IEND"))
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(Path(image.__file__).parents[2])}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "memory\n"


def test_a_channel_can_be_read_alone(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(np.array([[0, 65535]], np.uint16)))
    assert read_channel(tmp_path / "a.png").tolist() == [[0, 255]]


@pytest.mark.parametrize("n", range(3))
def test_real_images_decode_to_the_figures_computed_elsewhere(data: Path, n: int) -> None:
    root = data / "hpa"
    table = pd.read_csv(root / "expected_cells.csv", dtype={"ID": str})
    name, cells = list(table.groupby("ID"))[n]
    uris = [f"train/{name}_{role}.png" for role in CHANNELS] + [f"hpa_cell_mask/{name}.npz"]
    stamps = tuple(FileStamp(role, uri, 0, 0) for role, uri in zip(ROLES, uris, strict=False))
    got = decode(Source(str(name), (), stamps), root)
    assert got.bit_depth == 8
    for cell in cells.to_dict("records"):
        inside = got.cell_mask == cell["cell_label"]
        assert inside.sum() == cell["area"]
        for role in CHANNELS:
            assert got.channels[role][inside].mean() == pytest.approx(
                cell[f"mean_{role}"], abs=1e-4
            )
