"""Thousands of damaged files, read in processes that may die of them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpastore.reading import MAX_CELLS, MAX_FILE_BYTES, MAX_PIXELS
from hpastore.vocabulary import FAILURE_CODES
from tests.conftest import Figure, Trials

from .drawing import ADAM7, GRAY, RGBA, SIGNATURE, chunk, ihdr, png
from .trier import SECONDS, place_of

ROOT = Path(__file__).parents[2]

SIDE = int(MAX_PIXELS**0.5)

CHILDREN = 2
TRIALS = {
    "png": {"quick": 200, "full": 2_000, "soak": 100_000},
    "mask": {"quick": 200, "full": 2_000, "soak": 100_000},
    "table": {"quick": 100, "full": 400, "soak": 20_000},
}

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="a limit on memory is reliable on Linux only"
)


@on_linux
@pytest.mark.soak
@pytest.mark.parametrize("kind", TRIALS)
def test_no_damaged_file_is_taken_for_a_sound_one_kills_the_reader_or_costs_much(
    kind: str, tmp_path: Path, trials: Trials, figure: Figure
) -> None:
    n = trials(**TRIALS[kind])
    came_of, peak, slowest = try_all(kind, n, tmp_path)
    rejected = {code: count for code, count in came_of.items() if code != "accepted"}
    assert came_of.total() == n
    assert set(rejected) <= {*FAILURE_CODES, "refused"}
    assert min(sum(rejected.values()), came_of["accepted"]) > n / 20, "no test of the readers"
    assert peak < 1000
    assert slowest < SECONDS
    said = ", ".join(f"{code} {count}" for code, count in sorted(rejected.items()))
    figure(
        f"{kind}: {n} mutations: 0 crashes, 0 damaged files accepted, {came_of['accepted']} sound ones read "
        f"exactly; peak {peak} MB, slowest {slowest:.2f} s; rejected: {said}"
    )


def zeros_png(colour: int, depth: int, interlaced: int = 0, height: int = SIDE) -> bytes:
    """As many pixels as are read; interlaced, the passes hold as many bytes and some more filters."""
    samples = {GRAY: 1, RGBA: 4}[colour]
    size = samples * depth // 8
    rows = (
        [(height // dr, SIDE // dc) for _, _, dr, dc in ADAM7] if interlaced else [(height, SIDE)]
    )
    deflate = zlib.compressobj(1)
    stream = [
        deflate.compress(bytes(1 + width * size)) for count, width in rows for _ in range(count)
    ]
    body = chunk(b"IDAT", b"".join([*stream, deflate.flush()]))
    return SIGNATURE + ihdr(SIDE, height, depth, colour, (0, 0, interlaced)) + body + chunk(b"IEND")


def many_cells() -> bytes:
    """As many pixels and cells as are read, in the widest integers, of other byte order and axis order."""
    mask = np.repeat(np.arange(MAX_CELLS + 1, dtype=">i8") * 65_537, MAX_PIXELS // (MAX_CELLS + 1))
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("arr_0.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array(member, mask.reshape(SIDE, SIDE, order="F"))
    return file.getvalue()


def text_png() -> bytes:
    """As many bytes as are read, all but a few of them no pixels."""
    pixels = np.zeros((9, 9), np.uint8)
    return png(pixels, before=[chunk(b"tEXt", b"Comment\0" + bytes(MAX_FILE_BYTES - 200))])


LARGEST: dict[str, Callable[[], bytes]] = {
    "8 bits.png": lambda: zeros_png(GRAY, 8),
    "16 bits interlaced.png": lambda: zeros_png(GRAY, 16, interlaced=1),
    "RGBA.png": lambda: zeros_png(RGBA, 8),
    "RGBA of 16 bits.png": lambda: zeros_png(RGBA, 16, height=SIDE // 2),
    "text.png": text_png,
    "64 bits of other order.npz": many_cells,
}

READ = """
import sys, time
from pathlib import Path
from hpastore.errors import RejectedError
from hpastore.reading import decode_gray, decode_mask, read_file
from tests.reading.trier import peak
path, began = Path(sys.argv[1]), time.process_time()
data, _ = read_file(path, "", "")
try:
    (decode_gray if path.suffix == ".png" else decode_mask)(data, path)
    came = "read"
except RejectedError as error:
    came = error.code
print(came, peak(), time.process_time() - began)
"""


@pytest.mark.full  # each takes seconds and up to a GB
@on_linux
@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_files_that_are_read_cost_less_than_1_gb_and_10_s(
    name: str, tmp_path: Path, figure: Figure
) -> None:
    path = tmp_path / name
    path.write_bytes(LARGEST[name]())
    command = [sys.executable, "-c", READ, str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=120
    )
    came, peak, seconds = done.stdout.split()
    path.unlink()
    assert int(peak) < 1000
    assert float(seconds) < SECONDS
    assert came == ("not_gray" if name.startswith("RGBA") else "read")
    figure(f"largest files: {name}: peak {peak} MB, {float(seconds):.1f} s")


def try_all(kind: str, n: int, folder: Path) -> tuple[Counter[str], int, float]:
    """What came of each mutation, the largest peak in MB, and the longest time; fails where one was fatal."""
    came_of: Counter[str] = Counter()
    peaks, times = [], []
    with ExitStack() as stack:
        children = [
            stack.enter_context(started(kind, first, n, folder)) for first in range(CHILDREN)
        ]
        for first, child in enumerate(children):
            out, err = child.communicate(timeout=60 + n)
            fatal = f"{kind} {place_of(kind, first, folder).read_text()} ended its reader: {err}"
            assert child.returncode == 0, fatal
            report: dict[str, Any] = json.loads(out)
            assert (report["wrong"], err) == ([], "")
            came_of.update(report["came_of"])
            peaks.append(report["peak"])
            times.append(report["slowest"])
    return came_of, max(peaks), max(times)


@contextmanager
def started(kind: str, first: int, n: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = [kind, str(first), str(n), str(CHILDREN), str(folder)]
    command = [sys.executable, "-m", "tests.reading.trier", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as child:
        try:
            yield child
        finally:
            child.kill()
