"""How long a user waits for a command that does next to nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import hpastore
from scripts.benchmark.figure import Figure, in_turns, written
from scripts.benchmark.world import World


def show_help(world: World) -> Figure:
    """Wall time of ``hpastore --help``; beside it, Python's own start."""
    return _beside_python(world, ["--help"])


def show_status(world: World) -> Figure:
    """Wall time of ``hpastore status`` on a store without images; beside it, Python's own start."""
    path = world.new("empty.db")
    hpastore.open_store(path, create=True).close()
    return _beside_python(world, ["--db", str(path), "status"])


def _beside_python(world: World, arguments: Sequence[str]) -> Figure:
    program = str(Path(sys.executable).parent / "hpastore")
    times = world.choose(5, 21)
    _run(program, *arguments)  # compiles what was not compiled yet
    ours, python = in_turns(
        times, lambda: _run(program, *arguments), lambda: _run(sys.executable, "-c", "pass")
    )
    return Figure(ours, f"{times} starts", written({"python -c pass": python}, "s"))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
