"""What the rows are measured on: data sets, stores and a server, made on demand."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

import hpastore
from hpastore.model import Measured
from hpastore.store.engine import Store
from scripts.benchmark import drawing, filling
from scripts.benchmark.figure import Skip
from scripts.benchmark.real import data_folder
from tests.conftest import Server, start_server

DATABASES: Final = ("SQLite", "PostgreSQL")

_T = TypeVar("_T")


@dataclass
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
    _sets: dict[str, Path] = field(default_factory=dict)
    _stores: dict[str, Large] = field(default_factory=dict)
    _server: Server | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Close the stores, and stop the server."""
        self._open.close()

    def choose(self, quick: _T, full: _T) -> _T:
        """Choose by the length of the run."""
        return quick if self.quick else full

    def say(self, text: str) -> None:
        """Tell what is going on."""
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def new(self, name: str) -> Path:
        """Name a folder or file that does not exist."""
        return self.folder / f"{name}-{time.monotonic_ns()}"

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """Give a folder that is deleted afterwards."""
        folder = self.new(name)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def drawn(self, n: int, *, size: int, cells: int, nuclei: bool = False) -> Path:
        """Draw a data set, once; the same images in every run."""
        key = f"drawn-{n}-{size}-{cells}{'-nuclei' * nuclei}"
        if key not in self._sets:
            self.say(f"  drawing {n} images of {size}² with {cells} cells")
            self._sets[key] = drawing.draw(
                self.folder / key, n, size=size, cells=cells, nuclei=nuclei
            )
        return self._sets[key]

    def real(self) -> Path:
        """Copy the real images, once, so that they can be given other names.

        Raises
        ------
        Skip
            Where there are none.
        """
        if "real" not in self._sets:
            source = data_folder("hpa")
            self._sets["real"] = drawing.copy(source, self.folder / "real")
        return self._sets["real"]

    def with_real(self, drawn: dict[str, Path]) -> dict[str, Path]:
        """Add the real images to drawn data sets, where there are any."""
        try:
            return {**drawn, "real images": self.real()}
        except Skip as skip:
            self.say(f"  {skip}")
            return drawn

    def new_url(self, database: str) -> str:
        """Name a database without tables.

        Raises
        ------
        Skip
            Where no PostgreSQL can be started.
        """
        if database == "SQLite":
            return f"sqlite:///{self.new('cells')}.db"
        if self._server is None:
            self._server = self._open.enter_context(_server())
        return self._server.url_of(self._server.create())

    def new_store(self, database: str) -> Store:
        """Make a store without images, which is closed at the end of the run."""
        return self._open.enter_context(hpastore.open_store(self.new_url(database), create=True))

    def large(self, database: str, cells: int) -> Large:
        """Fill the one large store of a database up to a number of cells."""
        if database not in self._stores:
            root = self.drawn(self.choose(2, 12), size=2048, cells=20)
            self._stores[database] = Large(self.new_store(database), filling.templates(root))
        self.say(f"  {database}, {cells:,} cells")
        self._stores[database].fill(cells, real_shaped=self.choose(50_000, 430_000))
        return self._stores[database]


@dataclass
class Large:
    """A store that grows.

    Parameters
    ----------
    store
    templates
        Images that are varied.
    """

    store: Store
    templates: list[Measured]
    _numbers: Iterator[int] = field(default_factory=count)

    def fill(self, cells: int, *, real_shaped: int) -> None:
        """Write real-shaped images up to a number of cells, and then such of many small cells."""
        filling.fill(self.store, self.more(), min(cells, real_shaped))
        small = [filling.dense(self.templates[0], seed) for seed in range(4)]
        filling.fill(self.store, filling.vary(small, self._numbers), cells)

    def more(self) -> Iterator[Measured]:
        """Give real-shaped images that are not in the store yet."""
        return filling.vary(self.templates, self._numbers)


@contextmanager
def _server() -> Iterator[Server]:
    """Start a PostgreSQL with settings of its own making, unless one is named.

    Raises
    ------
    Skip
        Where none can be started.
    """
    with ExitStack() as stack:
        url = os.environ.get("HPASTORE_TEST_POSTGRES")
        if not url:
            # A short path: that of a Unix socket may have about 100 characters.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hpa"))
            try:
                server = start_server(Path(folder))
            except Exception as error:  # whatever the wheel raises where it does not run
                raise Skip(
                    f"no PostgreSQL can be started ({error}); set HPASTORE_TEST_POSTGRES"
                ) from error
            stack.callback(server.cleanup)
            url = server.get_uri()
        made = Server(url)
        stack.callback(made.admin.close)
        yield made
