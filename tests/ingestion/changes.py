"""Small changes of a data set on disk, and what a store then says: for tests of plan and ingest."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hpastore.ingestion.layout import Layout
from hpastore.ingestion.run import ingest
from hpastore.ingestion.summary import Summary
from hpastore.model import Plan
from hpastore.store.engine import Store
from tests.world import (
    Array,
    draw_channels,
    draw_mask,
    name_of,
    replaced,
    rows,
    write_table,
)

A, B, C = map(name_of, range(3))
ALL = {A: "0", B: "16", C: "0|16"}
"""The table of a data set of three images."""


def take(store: Store, layout: Layout | Path, **options: Any) -> Summary:
    """Ingest in this process; without the time it took."""
    return replace(ingest(store, layout, executor="serial", **options), seconds=0)


def live(store: Store) -> list[str]:
    return [
        row["name"]
        for row in rows(store, "SELECT name FROM image WHERE gone_at IS NULL ORDER BY name")
    ]


def failures(store: Store) -> list[tuple[str, str]]:
    found = rows(store, "SELECT image_name, code FROM failure ORDER BY image_name")
    return [(row["image_name"], row["code"]) for row in found]


def changed(todo: Plan) -> dict[str, tuple[str, ...]]:
    return {change.source.name: change.roles for change in todo.changed}


def channel(root: Path, name: str, of: str = "green") -> Path:
    return root / "train" / f"{name}_{of}.png"


def mask(root: Path, name: str, ending: str = ".npz") -> Path:
    return root / "hpa_cell_mask" / f"{name}{ending}"


def of_image(root: Path, name: str) -> list[Path]:
    return [path for path in root.rglob(f"{name}*") if path.is_file()]


def touch(path: Path) -> None:
    time = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(time, time))


def poison(root: Path) -> None:
    """Spoil all pictures and masks, though a folder does not show it: whoever reads one is found out."""
    for path in (*root.rglob("*.png"), *root.rglob("*.np?")):
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def spoil(path: Path) -> bytes:
    """Cut a file, and give what it was."""
    whole = path.read_bytes()
    with replaced(path):
        path.write_bytes(whole[:-20])
    return whole


def mend(path: Path, whole: bytes) -> None:
    with replaced(path):
        path.write_bytes(whole)


def moved_up(mask: Array) -> Array:
    """A mask a row further up: another, and most of each cell is where it was."""
    return np.roll(mask, -1, axis=0)


def same_size(path: Path) -> None:
    """Write another mask of as many bytes, a second later."""
    with replaced(path):
        np.savez(path, moved_up(draw_mask(3)))


def write_channel(root: Path, name: str, of: str, seed: int = 77) -> None:
    with replaced(channel(root, name, of)) as path:
        assert cv2.imwrite(str(path), draw_channels(seed, draw_mask(2))[of])


def without_row(root: Path) -> None:
    write_table(root, {A: "0", C: "0|16"})
