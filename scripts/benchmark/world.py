"""What the rows are measured on: data sets, stores and a server, made when they are first needed."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from scripts.benchmark import drawing
from scripts.benchmark.figure import Skip

_T = TypeVar("_T")

REAL_IMAGES = "HPASTORE_DATA"


@dataclass(frozen=True)
class World:
    """One run of the benchmark.

    Parameters
    ----------
    folder
        Where everything is made; of nobody else.
    quick
        Whether to measure on less.
    """

    folder: Path
    quick: bool = False
    _made: dict[str, Path] = field(default_factory=dict)

    def choose(self, quick: _T, full: _T) -> _T:
        """Choose by the length of the run."""
        return quick if self.quick else full

    def say(self, text: str) -> None:
        """Tell what is going on."""
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def new(self, name: str) -> Path:
        """Name a folder or file that does not exist."""
        return self.folder / f"{name}-{time.monotonic_ns()}"

    def drawn(self, n: int, *, size: int, cells: int, nuclei: bool = False) -> Path:
        """Draw a data set, once; its first `n` images are the same in every run."""
        key = f"drawn-{n}-{size}-{cells}{'-nuclei' * nuclei}"
        if key not in self._made:
            self.say(f"  drawing {n} images of {size}² with {cells} cells")
            self._made[key] = drawing.draw(self.folder / key, n, size=size, cells=cells, nuclei=nuclei)
        return self._made[key]

    def real(self) -> Path:
        """Copy the real images, once, so that they can be given other names.

        Raises
        ------
        Skip
            Where there are none.
        """
        if "real" not in self._made:
            default = Path(__file__).parents[3] / "shared" / "data"
            source = Path(os.environ.get(REAL_IMAGES, default)) / "hpa"
            if not (source / "hpa_cell_mask").is_dir():
                raise Skip(f"no real images in {source}; set {REAL_IMAGES}")
            for name in drawing.names(source):
                for file in drawing.files(source, name):
                    target = self.folder / "real" / file.relative_to(source)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target)
            self._made["real"] = self.folder / "real"
        return self._made["real"]

    def with_real(self, drawn: dict[str, Path]) -> dict[str, Path]:
        """Add the real images to drawn data sets, where there are any."""
        try:
            return {**drawn, "real images": self.real()}
        except Skip as skip:
            self.say(f"  {skip}")
            return drawn

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """Give a folder that is deleted afterwards."""
        folder = self.new(name)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
