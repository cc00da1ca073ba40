"""How much memory is needed at most."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from scripts.benchmark import drawing
from scripts.benchmark.figure import Figure, worst, written
from scripts.benchmark.world import World


def worker(world: World) -> Figure:
    """Peak of a worker at four channels of 3072², with a nucleus mask and without."""
    cases = {}
    with world.scratch("memory") as folder:
        for case, nuclei in (("with nuclei", True), ("without", False)):
            root = world.drawn(1, size=3072, cells=20, nuclei=nuclei)
            many = drawing.repeat(root, folder / case, 3)
            cases[case] = peaks("ingest", many, folder / f"{case}.db", 1)["worker"]
    return Figure(worst(cases), "3 images each", written(cases, "MB"))


def main_process(world: World) -> Figure:
    """Peak of the process that writes, at many images ÷ at 100."""
    few, many = 100, world.choose(1_000, 10_000)
    found = {}
    with world.scratch("memory") as folder:
        tiny = world.drawn(10, size=64, cells=20)
        for images in (few, many):
            world.say(f"  {images:,} images")
            root = drawing.repeat(tiny, folder / f"{images}", images // 10)
            found[images] = peaks("ingest", root, folder / f"{images}.db", 2)["main"]
    cases = {f"{images:,} images": peak for images, peak in found.items()}
    return Figure(found[many] / found[few], f"{many:,} images", written(cases, "MB"))


def peaks(*arguments: object) -> dict[str, float]:
    """Do something in a process of its own, see `scripts.benchmark.peak`; MB by process."""
    command = [sys.executable, "-m", "scripts.benchmark.peak", *map(str, arguments)]
    root = Path(__file__).parents[2]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=root).stdout
    found: dict[str, float] = json.loads(said)
    return found
