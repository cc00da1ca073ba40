"""Masks with as many cells as are taken, and with more, in a process with a limit on its memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sqlalchemy.engine import make_url

from hpastore.reading import MAX_CELLS
from hpastore.store.engine import Store, connect
from hpastore.vocabulary import CHANNELS
from tests.conftest import Figure, Trials
from tests.world import Array, rows, write_table

SIDE = 3072
MEMORY = 1_500_000_000
SECONDS = 60

INGEST = """
import json, resource, sys, time
from pathlib import Path
import hpastore
from hpastore.store.engine import connect
from tests.reading.trier import address_space, peak
url, root, memory = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
with connect(url) as store:
    hpastore.status(store)  # loads what an idle process has
    limit = address_space() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    began = time.process_time()
    summary = hpastore.ingest(store, root, executor="serial")
    seconds = time.process_time() - began
print(json.dumps({"cells": summary.cells, "rejected": summary.rejected, "peak": peak(), "seconds": seconds}))
"""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="a limit on memory is reliable on Linux only"
)


def crowd(cells: int, factor: int, dtype: type[np.generic]) -> Array:
    """Cells of one pixel each, none beside another, with ids that are multiples of a factor."""
    mask = np.zeros(SIDE * SIDE, np.int64)
    step = mask.size // cells
    mask[: step * cells : step] = np.random.default_rng(0).permutation(cells) + 1
    return (mask.reshape(SIDE, SIDE) * factor).astype(dtype)


def scattered(side: int) -> Array:
    """On the white fields of a chessboard the pixels of all cells in disorder: each run is of one pixel."""
    row, column = np.indices((side, side))
    white = (row + column) % 2 == 0
    ids = np.resize(np.arange(1, MAX_CELLS + 1), np.count_nonzero(white))
    mask = np.zeros((side, side), np.uint16)
    mask[white] = np.random.default_rng(0).permutation(ids)
    return mask


def ingest(url: str, root: Path, mask: Array) -> dict[str, Any]:
    """Draw an image with a mask, ingest it in a process of its own, and say what that took."""
    (root / "train").mkdir(parents=True)
    (root / "hpa_cell_mask").mkdir()
    noise = np.random.default_rng(1).integers(0, 256, mask.shape, np.uint8)
    for n, channel in enumerate(CHANNELS):
        assert cv2.imwrite(str(root / "train" / f"a_{channel}.png"), np.roll(noise, n))
    np.savez_compressed(root / "hpa_cell_mask" / "a.npz", mask)
    write_table(root, {"a": "3"})
    command = [sys.executable, "-c", INGEST, url, str(root), str(MEMORY)]
    home = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=home, timeout=600)
    assert done.returncode == 0, done.stderr
    took: dict[str, Any] = json.loads(done.stdout)
    assert took["peak"] < MEMORY // 10**6
    assert took["seconds"] < SECONDS
    return took


def say(figure: Figure, url: str, what: str, took: dict[str, Any]) -> None:
    database = make_url(url).get_backend_name()
    figure(f"crowded: {database}: {what}: {took['seconds']:.1f} s, peak {took['peak']} MB")


@pytest.mark.full  # the quick run measures as many cells without a store
def test_as_many_one_pixel_cells_as_are_taken_are_stored_whole(
    url: str, tmp_path: Path, figure: Figure, trials: Trials
) -> None:
    n = trials(quick=MAX_CELLS // 32, full=MAX_CELLS, soak=MAX_CELLS)
    factor = 65_537 * (MAX_CELLS // n)  # ids up to the largest
    took = ingest(url, tmp_path / "data", crowd(n, factor, np.uint32))
    assert (took["cells"], took["rejected"]) == (n, 0)
    with connect(url) as store:
        cells = rows(
            store,
            "SELECT mask_id, area, width, height, pieces, rle FROM cell JOIN cell_mask ON cell_id = id ORDER BY mask_id",
        )
        assert [cell["mask_id"] for cell in cells] == [factor * (k + 1) for k in range(n)]
        assert {(c["area"], c["width"], c["height"], c["pieces"]) for c in cells} == {(1, 1, 1, 1)}
        assert len({cell["rle"] for cell in cells}) == n
        assert measured(store) == 4 * n
    say(figure, url, f"{n} one-pixel cells at {SIDE}²", took)


@pytest.mark.soak
@pytest.mark.full
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_as_many_cells_in_as_many_runs_as_can_be_are_stored_whole(
    url: str, tmp_path: Path, figure: Figure, trials: Trials
) -> None:
    side = trials(quick=512, full=512, soak=SIDE)
    took = ingest(url, tmp_path / "data", scattered(side))
    assert (took["cells"], took["rejected"]) == (MAX_CELLS, 0)
    with connect(url) as store:
        (total,) = rows(store, "SELECT count(*) AS n, sum(area) AS area FROM cell")
        assert total == {"n": MAX_CELLS, "area": side * side // 2}
        assert measured(store) == 4 * MAX_CELLS
    say(figure, url, f"{MAX_CELLS} cells in {side * side // 2} one-pixel runs at {side}²", took)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("cells", [MAX_CELLS + 1, pytest.param(1_000_000, marks=pytest.mark.full)])
def test_an_image_with_more_cells_than_are_taken_is_rejected_with_the_limit(
    cells: int, url: str, tmp_path: Path, figure: Figure
) -> None:
    took = ingest(url, tmp_path / "data", crowd(cells, 1, np.int32))
    assert (took["cells"], took["rejected"]) == (0, 1)
    with connect(url) as store:
        (failure,) = rows(store, "SELECT code, uri, message FROM failure")
    assert (failure["code"], failure["uri"]) == ("too_many_cells", "hpa_cell_mask/a.npz")
    assert str(MAX_CELLS) in failure["message"]
    say(figure, url, f"{cells} one-pixel cells at {SIDE}² are rejected", took)


def measured(store: Store) -> int:
    return len(rows(store, "SELECT cell_id FROM cell_channel WHERE intensity_mean IS NOT NULL"))
