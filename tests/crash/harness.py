"""Disturbed runs, and what a store must be like after them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

import hpastore
from hpastore.errors import HpastoreError
from hpastore.ingestion.layout import Layout
from hpastore.runtime import failpoints
from hpastore.store.engine import connect
from hpastore.store.status import counts
from tests.conftest import Server
from tests.waiting import PATIENCE_S
from tests.world import dataset, draw_mask, name_of, write_image, write_table

OF_IMAGE = (
    *("image", "image_file", "image_label", "image_channel", "image_measure"),
    *("cell", "cell_mask", "cell_channel", "cell_measure"),
)
"""Tables of the dump whose rows begin with an image's name."""


class Outcome(NamedTuple):
    """What became of a trial."""

    code: int
    out: str
    err: str
    reached: Mapping[str, int]


class Runner:
    """Starts trials by fork, in a twentieth of the time that a new Python takes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def __call__(
        self,
        url: str,
        *arguments: object,
        failpoint: str | None = None,
        kill_after: float | None = None,
        site: Path | None = None,
    ) -> Outcome:
        """Run a command on a store, with one failpoint armed or a kill after some seconds.

        The site is a folder with packages that are installed besides.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        environment = {failpoints.VARIABLE: failpoint} if failpoint else {}
        request = {
            "arguments": ["--db", url, *map(str, arguments)],
            "environment": environment,
            "kill_after": kill_after,
            "site": site and str(site),
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=PATIENCE_S)
        self._process.stdout.close()


@dataclass(frozen=True)
class Template:
    """A database to be copied for each trial."""

    server: Server | None
    url: str
    folder: Path

    @contextmanager
    def copy(self) -> Iterator[str]:
        """Give the URL of a copy."""
        name = make_url(self.url).database
        assert name is not None
        if self.server is not None:
            with self.server.database(name) as url:
                yield url
            return
        path = self.folder / "trial.db"
        if Path(name).exists():
            shutil.copyfile(name, path)
        try:
            yield f"sqlite:///{path}"
        finally:
            for file in self.folder.glob("trial.db*"):
                file.unlink()


# Inputs that change


def yesterday(root: Path, url: str) -> None:
    """Fill a store: nine images, of which one is gone; two clean sets."""
    dataset(root, 9)
    layout = Layout(root)
    with hpastore.open_store(url, create=True) as store:
        hpastore.ingest(store, layout, executor="serial")
        hpastore.create_clean_set(store, "mine")
        write_table(root, {name_of(i): "0" if i < 7 else "16" for i in range(8)})
        hpastore.ingest(store, layout, executor="serial")


def today(root: Path) -> None:
    """Change the inputs in every way."""
    labels = {name_of(i): "0" if i < 7 else "16" for i in range(1, 12)}
    write_image(root, name_of(9), seed=9)
    write_image(root, name_of(10), seed=10, mask=draw_mask(5))
    write_image(root, name_of(11), seed=11)
    write_image(root, name_of(1), seed=91, mask=draw_mask(4))
    os.utime(root / "train" / f"{name_of(2)}_red.png", ns=(10**18, 10**18))
    labels[name_of(3)] = "7|16"
    (root / "train" / f"{name_of(4)}_blue.png").write_bytes(b"no picture")
    (root / "train" / f"{name_of(11)}_blue.png").write_bytes(b"no picture")
    write_table(root, labels)


# What a store holds


def dump(url: str) -> list[str]:
    with hpastore.open_store(url) as store:
        return list(hpastore.dump(store))


def stored(url: str) -> int:
    """Number of images in a store that may still be in the making."""
    try:
        with connect(url) as store, store.reading() as connection:
            return counts(connection)["images"]
    except (HpastoreError, ProgrammingError) as error:
        assert "no such" in str(error) or "does not exist" in str(error), error
        return 0


def images(lines: list[str]) -> dict[str, list[str]]:
    """The lines of each image: all that is stored of it."""
    found: dict[str, list[str]] = {}
    for line in lines:
        table, _, rest = line.partition("\t")
        if table in OF_IMAGE and rest:
            found.setdefault(json.loads(rest.split("\t", 1)[0]), []).append(line)
    return found


def neither_lost_nor_partial(now: list[str], before: list[str], after: list[str]) -> list[str]:
    """Names of images that are neither as they were before nor as they will be."""
    was, will, found = images(before), images(after), images(now)
    return [
        name
        for name in sorted(was.keys() | will.keys() | found.keys())
        if found.get(name) not in (was.get(name), will.get(name))
    ]


def damage(url: str) -> list[str]:
    """What the database itself finds wrong."""
    with connect(url) as store, store.reading() as connection:
        if not store.is_sqlite:
            return []  # every constraint was checked as it was written
        found = [
            row[0] for row in connection.execute(text("PRAGMA integrity_check")) if row[0] != "ok"
        ]
        return found + [
            str(tuple(row)) for row in connection.execute(text("PRAGMA foreign_key_check"))
        ]
