"""Any history of a root and its store, on both databases at once: they stay equal, and as the files say."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import hpastore
from hpastore.clean.rules import CleanRecipe
from hpastore.errors import InputError, UsageError
from hpastore.store import migrate
from hpastore.store.engine import Store
from hpastore.vocabulary import CHANNELS, Scope
from tests.conftest import Figure, Server, Trials
from tests.crash.harness import Runner, images
from tests.world import draw_mask, name_of, replaced, rows, write_image, write_table

T = TypeVar("T")

LABELS = ("0", "7", "16", "18", "0|16", "7|0|16")
PLACES = (
    *("ingest.planned", "run.begun", "image.result", "image.deleted", "image.row", "image.files"),
    *("image.cells", "image.cell_masks", "store.commit", "store.committed", "images.gone"),
    *("failures.written", "run.finished", "image.touched", "image.relabelled"),
)
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "garbage": lambda data: b"no picture",
    "cut": lambda data: data[:-7],
    "flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
}
SETTINGS = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=True,
    print_blob=True,
)


@dataclass
class Pair:
    """The same store on SQLite and on PostgreSQL."""

    stores: list[Store]
    urls: list[str]

    def same(self, ask: Callable[[Store], T]) -> T:
        """Ask both, and give the answer, which is one."""
        one, other = map(ask, self.stores)
        assert one == other
        return one


@dataclass
class Inputs:
    """What a root holds, by image."""

    labels: dict[str, str] = field(default_factory=dict)
    bad: dict[str, tuple[Path, bytes]] = field(default_factory=dict)
    """A file of each damaged image, and what it held."""


def files_of(root: Path, name: str) -> list[Path]:
    channels = [root / "train" / f"{name}_{channel}.png" for channel in CHANNELS]
    return [path for path in (*channels, root / "hpa_cell_mask" / f"{name}.npz") if path.exists()]


def hashes(root: Path, name: str) -> frozenset[str]:
    return frozenset(hashlib.sha256(path.read_bytes()).hexdigest() for path in files_of(root, name))


class Machine(RuleBasedStateMachine):
    """A root that changes, and a pair of stores that follow it."""

    make_pair: Callable[[], tuple[Pair, Path, Callable[[], None]]]
    run: Runner
    counts: dict[str, int]

    names = Bundle("names")
    damaged = Bundle("damaged")

    @initialize()
    def begin(self) -> None:
        self.pair, self.root, self.end = type(self).make_pair()
        self.inputs = Inputs()
        self.stored: dict[str, tuple[str, frozenset[str], bool]] = {}  # labels, hashes, gone
        self.followed = True  # whether the store is known to be as after a whole ingest
        self.serial = 0
        self.upgraded = True  # since the last ingest
        for folder in ("train", "hpa_cell_mask"):
            (self.root / folder).mkdir(parents=True)
        self._write_table()

    def teardown(self) -> None:
        if hasattr(self, "end"):
            self.end()

    # The inputs

    @rule(target=names, labels=st.sampled_from(LABELS), cells=st.integers(0, 5))
    def add(self, labels: str, cells: int) -> str:
        name = name_of(self.serial)
        self.serial += 1
        write_image(self.root, name, seed=self.serial, mask=draw_mask(cells))
        self.inputs.labels[name] = labels
        self._write_table()
        return name

    @rule(name=names, cells=st.integers(0, 5))
    def change(self, name: str, cells: int) -> None:
        self.serial += 1
        self.inputs.bad.pop(name, None)
        write_image(self.root, name, seed=1000 + self.serial, mask=draw_mask(cells))

    @rule(name=names, labels=st.sampled_from(LABELS))
    def relabel(self, name: str, labels: str) -> None:
        self.inputs.labels[name] = labels
        self._write_table()

    @rule(name=names)
    def remove_from_the_table(self, name: str) -> None:
        self.inputs.labels.pop(name, None)
        self._write_table()

    @rule(name=names)
    def remove_files(self, name: str) -> None:
        self.inputs.bad.pop(name, None)
        for path in files_of(self.root, name):
            path.unlink()

    @rule(name=names, which=st.integers(0, 4))
    def remove_a_file(self, name: str, which: int) -> None:
        found = files_of(self.root, name)
        if name not in self.inputs.bad and which < len(found):
            found[which].unlink()

    @rule(name=names)
    def touch(self, name: str) -> None:
        for path in files_of(self.root, name)[:1]:
            with replaced(path):
                pass

    @rule(target=damaged, name=names, which=st.integers(0, 4), how=st.sampled_from(sorted(DAMAGES)))
    def corrupt(self, name: str, which: int, how: str) -> str:
        found = files_of(self.root, name)
        if name not in self.inputs.bad and which < len(found):
            data = found[which].read_bytes()
            self.inputs.bad[name] = found[which], data
            with replaced(found[which]) as path:
                path.write_bytes(DAMAGES[how](data))
        return name

    @rule(name=consumes(damaged))
    def repair(self, name: str) -> None:
        if name in self.inputs.bad:
            path, data = self.inputs.bad.pop(name)
            with replaced(path):
                path.write_bytes(data)

    def _is_refused(self) -> bool:
        """Whether no row names an image that is there, though there are images, or none was ever stored."""
        if any(files_of(self.root, name) for name in self.inputs.labels):
            return False
        return any((self.root / "train").iterdir()) or all(row["gone"] for row in self._rows())

    def _write_table(self) -> None:
        # One row that is never there, so that the table has one.
        write_table(self.root, {**self.inputs.labels, "nobody": "0"})

    # The store

    @rule(prune=st.booleans())
    def ingest(self, prune: bool) -> None:
        if self._is_refused():
            for store in self.pair.stores:
                with pytest.raises(
                    InputError, match=r"no row matches an image in|no file of the \d+ image"
                ):
                    self._ingest(store, prune)
            return
        planned = self.pair.same(lambda store: str(hpastore.plan(store, self.root, prune=prune)))
        summary = self.pair.same(lambda store: self._ingest(store, prune))
        assert planned
        self._follow(prune)
        assert summary == len(self._rejected())
        assert self.pair.same(lambda store: hpastore.plan(store, self.root).work) == 0
        self.upgraded = False
        self.counts["ingests"] += 1

    @rule(name=names, cells=st.integers(0, 5), prune=st.booleans())
    def change_and_ingest(self, name: str, cells: int, prune: bool) -> None:
        self.change(name=name, cells=cells)
        self.ingest(prune=prune)

    @rule(
        name=names,
        labels=st.sampled_from(LABELS),
        place=st.sampled_from(PLACES),
        n=st.integers(1, 2),
    )
    def relabel_and_kill(self, name: str, labels: str, place: str, n: int) -> None:
        self.relabel(name=name, labels=labels)
        self.kill(place=place, n=n)

    @rule(place=st.sampled_from(PLACES), n=st.integers(1, 2))
    def kill(self, place: str, n: int) -> None:
        if self._is_refused():
            return
        before = images(self._dump())
        for url in self.pair.urls:
            command = ("ingest", self.root, "--executor", "serial", "--allow-gone", "all")
            outcome = self.run(url, *command, failpoint=f"{place}:{n}:kill")
            assert outcome.code in (-9, 0, 3), outcome.err
        self.counts["kills"] += outcome.code == -9
        after = images(self._dump())
        for name in after.keys() - before.keys():
            assert name in self.inputs.labels
        assert before.keys() <= after.keys()
        self.followed = False

    @rule()
    def retry(self) -> None:
        self.pair.same(hpastore.retry)

    @rule(scope=st.sampled_from(["single", "all"]))
    def clean(self, scope: Scope) -> None:
        def create(store: Store) -> object:
            try:
                return hpastore.create_clean_set(store, "mine", CleanRecipe(scope=scope))
            except UsageError as error:
                return str(error)

        self.pair.same(create)

    @rule(form=st.sampled_from(["coco", "mmdet", "csv"]), clean=st.booleans())
    def export(self, form: str, clean: bool) -> None:
        def export(store: Store) -> object:
            out = self.root.parent / f"out.{form}"
            options = hpastore.ExportOptions(clean="mine" if clean else None)
            write: dict[str, Any] = {
                "coco": hpastore.export_coco,
                "mmdet": hpastore.export_mmdet,
                "csv": hpastore.export_csv,
            }
            try:
                write[form](store, out, options, force=True)
            except hpastore.HpastoreError as error:
                return type(error).__name__
            assert hpastore.verify(out) == 1
            return out.read_bytes()

        self.pair.same(export)
        self.counts["exports"] += 1

    @precondition(lambda self: not self.upgraded)
    @rule()
    def come_from_an_older_schema(self) -> None:
        for store in self.pair.stores:
            migrate.downgrade(store, "0001")
            migrate.upgrade(store)
            assert migrate.check(store) == []
        # What the old schema did not know: which images are gone, and what was tried.
        self.stored = {
            name: (labels, files, False) for name, (labels, files, _) in self.stored.items()
        }
        self.upgraded = True
        self.counts["upgrades"] += 1

    def _ingest(self, store: Store, prune: bool) -> int:
        options: Any = {"executor": "serial", "prune": prune, "allow_gone": "all"}
        return hpastore.ingest(store, self.root, **options).rejected

    # What must be so

    def _rejected(self) -> set[str]:
        """Images of the table that have some of their files, and cannot be taken."""
        found = {name: files_of(self.root, name) for name in self.inputs.labels}
        return {
            name
            for name, files in found.items()
            if files and (len(files) < 5 or name in self.inputs.bad)
        }

    def _follow(self, prune: bool) -> None:
        """Do in the model what an ingest does."""
        rejected = self._rejected()
        kept = {} if not self.followed else dict(self.stored)
        if not self.followed:  # a killed ingest has stored what it came to
            kept = {
                name: (row["labels"], self._stored_hashes(name), bool(row["gone"]))
                for row in rows(
                    self.pair.stores[0],
                    "SELECT name, labels, gone_at IS NOT NULL AS gone FROM image",
                )
                if (name := str(row["name"])) in rejected or name not in self.inputs.labels
            }
        for name, labels in self.inputs.labels.items():
            if files_of(self.root, name) and name not in rejected:
                wanted = "|".join(map(str, sorted(set(map(int, labels.split("|"))))))
                kept[name] = wanted, hashes(self.root, name), False
        present = {name for name in self.inputs.labels if files_of(self.root, name)}
        kept = {
            name: image if name in present else (*image[:2], True) for name, image in kept.items()
        }
        if prune:
            kept = {name: image for name, image in kept.items() if not image[2]}
        self.stored, self.followed = kept, True

    def _rows(self) -> list[dict[str, Any]]:
        query = "SELECT name, labels, gone_at IS NOT NULL AS gone FROM image"
        return rows(self.pair.stores[0], query)

    def _stored_hashes(self, name: str) -> frozenset[str]:
        query = "SELECT sha256 FROM image_file JOIN image ON id = image_id WHERE name = :name"
        return frozenset(row["sha256"] for row in rows(self.pair.stores[0], query, name=name))

    @invariant()
    def both_databases_are_equal(self) -> None:
        if hasattr(self, "pair"):
            self._dump()
            self.counts["dumps compared"] += 1

    @precondition(lambda self: getattr(self, "followed", False))
    @invariant()
    def the_store_is_as_the_files_were(self) -> None:
        assert {
            row["name"]: (row["labels"], self._stored_hashes(row["name"]), bool(row["gone"]))
            for row in self._rows()
        } == self.stored

    def _dump(self) -> list[str]:
        return self.pair.same(lambda store: list(hpastore.dump(store)))


@pytest.mark.full  # tests/ingestion/test_histories.py has a quick one for each database
@pytest.mark.soak
def test_any_history_leaves_both_databases_equal_and_as_the_files_say(
    server: Server,
    postgres_template: str,
    sqlite_template: Path,
    run: Runner,
    figure: Figure,
    trials: Trials,
) -> None:
    @contextmanager
    def world() -> Iterator[tuple[Pair, Path]]:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            path = folder / "cells.db"
            shutil.copyfile(sqlite_template, path)
            urls = [f"sqlite:///{path}", stack.enter_context(server.database(postgres_template))]
            stores = [stack.enter_context(hpastore.open_store(url)) for url in urls]
            yield Pair(stores, urls), folder / "data"

    def make_pair() -> tuple[Pair, Path, Callable[[], None]]:
        stack = ExitStack()
        pair, root = stack.enter_context(world())
        counts["histories"] += 1

        def end() -> None:
            try:
                for store in pair.stores:
                    assert hpastore.doctor(store, deep=True) == []
            finally:
                stack.close()

        return pair, root, end

    counts = dict.fromkeys(
        ("histories", "ingests", "kills", "exports", "upgrades", "dumps compared"), 0
    )
    machine = type(
        "Histories",
        (Machine,),
        {"make_pair": staticmethod(make_pair), "run": run, "counts": counts},
    )
    run_state_machine_as_test(
        machine,
        settings=settings(
            SETTINGS,
            max_examples=trials(quick=30, full=30, soak=500),
            stateful_step_count=trials(quick=30, full=30, soak=50),
        ),
    )
    assert counts["ingests"], "no history has an ingest"
    figure(
        f"histories: {', '.join(f'{count} {name}' for name, count in counts.items())}: all equal, none wrong"
    )
