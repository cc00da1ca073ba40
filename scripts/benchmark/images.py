"""What one image costs: against decoding it, against the notebook's way, on one core and on two."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import cv2

import hpastore
from hpastore.runtime.executor import worker_count
from hpastore.runtime.pool import map_in_order
from scripts.benchmark import drawing, notebook
from scripts.benchmark.figure import Figure, Skip, digits, seconds, worst, written
from scripts.benchmark.world import World

_SIZES: Final = ((2048, 20, 2), (2048, 60, 2), (3072, 20, 1), (3072, 60, 1))
"""Width and height, cells, and number of drawn images."""

_FREE: Final = 1.7
"""Gain of a second decoding process with two free cores; 1.9 on an idle machine."""


def ingest(world: World) -> Figure:
    """Cost of an image, measured and committed to SQLite ÷ decoding its five files.

    One thread for both; all files are in the page cache.  The times are those between one image's
    commit and the next one's, so that planning is not in them.
    """
    times = world.choose(3, 8)
    roots = {f"{s}², {cells} cells": world.drawn(n, size=s, cells=cells) for s, cells, n in _SIZES}
    cases, images = {}, 0
    for case, root in world.with_real(roots).items():
        world.say(f"  {case}")
        cases[case], n = _beside(world, root, times, _decoder(root))
        images += n
    return Figure(worst(cases), f"{images} images", written(cases))


def against_notebook(world: World) -> Figure:
    """The notebook's way ÷ ours, on one core, image by image; beside it two processes of each."""
    numbers = world.choose((20,), (20, 60))
    roots = {f"2048², {cells} cells": world.drawn(2, size=2048, cells=cells) for cells in numbers}
    cases, images = {}, 0
    for case, root in world.with_real(roots).items():
        world.say(f"  {case}")
        with world.scratch("notebook") as out:
            ratio, n = _beside(world, root, 3, partial(notebook.run, root, out))
        cases[case] = 1 / ratio
        images += n
    world.say("  two processes of each")
    beside = {"two processes of each": _two_of_each(world)}
    return Figure(min(cases.values()), f"{images} images", written({**cases, **beside}, "times"))


def two_workers(world: World) -> Figure:
    """Images a second of two worker processes ÷ of one; beside it decoding alone.

    The clock starts when the first eighth of the images is stored: by then all workers have
    started. Where not even decoding gains from a second process, others have that core, and there
    is no figure.
    """
    if worker_count(None) < 2:
        raise Skip("needs two cores")
    images = world.choose(40, 104)
    root = world.drawn(2, size=2048, cells=20)
    ours: dict[int, list[float]] = {1: [], 2: []}
    alone: dict[int, list[float]] = {1: [], 2: []}
    with world.scratch("workers") as folder:
        many = drawing.repeat(root, folder / "data", images // 2)
        for turn in range(world.choose(1, 3)):
            for jobs in (1, 2):
                world.say(f"  {jobs} at work")
                ours[jobs].append(_rate(_store_all(many, folder / f"{turn}-{jobs}.db", jobs), jobs))
                alone[jobs].append(
                    _rate(_do_all(partial(drawing.decode_image, many), many, jobs), jobs)
                )
    ratio, of_decoding = (median(rates[2]) / median(rates[1]) for rates in (ours, alone))
    if of_decoding < _FREE:
        raise Skip(
            f"no two cores are free: {digits(ratio)} x, and decoding alone {digits(of_decoding)} x"
        )
    return Figure(ratio, f"{images} images", written({"decoding alone": of_decoding}, "times"))


def _decoder(root: Path) -> Callable[[str], object]:
    """Decode an image whose files were read before."""
    contents = {
        name: [f.read_bytes() for f in drawing.files(root, name)] for name in drawing.names(root)
    }
    return lambda name: drawing.decode(contents[name])


def _beside(
    world: World, root: Path, times: int, other: Callable[[str], object]
) -> tuple[float, int]:
    """Store each image several times, and do something else with it after each commit.

    Returns
    -------
    ratio, n
        All images in the store ÷ the same images otherwise, of each image the median time; and how
        many were stored.
    """
    names = drawing.names(root)
    ours: dict[str, list[float]] = {name: [] for name in names}
    others: dict[str, list[float]] = {name: [] for name in names}
    with world.scratch("store") as folder, _one_thread():
        many = drawing.repeat(root, folder / "data", times + 1)
        began = time.perf_counter()

        def stored(done: int, _: int) -> None:
            nonlocal began
            took, name = time.perf_counter() - began, names[(done - 1) % len(names)]
            if done > len(names):  # the first of each only warms
                ours[name].append(took)
                others[name].append(seconds(lambda: other(name)))
            began = time.perf_counter()

        with hpastore.open_store(folder / "cells.db", create=True) as store:
            hpastore.ingest(store, many, executor="serial", progress=stored)
    ratio = sum(map(median, ours.values())) / sum(map(median, others.values()))
    return ratio, times * len(names)


def _two_of_each(world: World) -> float:
    """Images a second of two of our workers ÷ of two of the notebook's processes."""
    root = world.drawn(2, size=2048, cells=20)
    with world.scratch("pair") as folder:
        few = drawing.repeat(root, folder / "few", world.choose(2, 12))
        many = drawing.repeat(root, folder / "many", world.choose(8, 48))
        theirs = _rate(_do_all(partial(notebook.run, few, folder), few, 2), 2)
        return _rate(_store_all(many, folder / "cells.db", 2), 2) / theirs


def _store_all(root: Path, path: Path, jobs: int) -> list[float]:
    """Ingest a data set, and give the moments at which its images were stored."""
    moments: list[float] = []
    with hpastore.open_store(path, create=True) as store:
        hpastore.ingest(
            store, root, jobs=jobs, progress=lambda *_: moments.append(time.perf_counter())
        )
    return moments


def _do_all(work: Callable[[str], object], root: Path, jobs: int) -> list[float]:
    """Do something with all images in some processes, and give the moment of each."""
    return [time.perf_counter() for _ in map_in_order(work, drawing.names(root), jobs)]


def _rate(moments: list[float], jobs: int) -> float:
    """Results a second, after the first eighth of them and at least one of each process."""
    first = max(len(moments) // 8, jobs - 1)
    return (len(moments) - 1 - first) / (moments[-1] - moments[first])


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
