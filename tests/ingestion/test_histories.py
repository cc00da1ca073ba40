"""A folder that changes, moves and is given in many ways, at random: the store follows."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpastore.errors import InputError
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.run import forget, plan
from hpastore.ingestion.summary import Summary
from hpastore.kernels.custom import CustomMeasure
from hpastore.store.engine import Store
from hpastore.text import count_text
from hpastore.vocabulary import CHANNELS
from tests.conftest import Figure, MakeStore, Trials
from tests.ingestion.changes import (
    changed,
    channel,
    failures,
    live,
    mask,
    moved_up,
    of_image,
    spoil,
    take,
    touch,
)
from tests.world import (
    SHIFT,
    SPREAD,
    draw_mask,
    dump,
    install,
    replaced,
    rows,
    scalar,
    write_image,
    write_table,
)


class World:
    """A folder that changes at random, and what its table says; who breaks a file remembers it."""

    def __init__(self, root: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.root = root
        self.table: dict[str, str] = {}
        self.broken: set[Path] = set()
        self.drawn = 0
        for _ in range(3):
            self.add()
        write_table(root, self.table)

    def step(self) -> None:
        """Do one or two small things."""
        of_table = (self.add, self.relabel, self.misspell, self.drop, self.put_back, self.stranger)
        of_files = (self.rewrite, self.other_mask, self.touch, self.delete, self.wipe, self.spoil)
        of_masks = (self.nuclei, self.other_type)
        for _ in range(self.random.randint(1, 2)):
            self.random.choice((*of_table, *of_files, *of_masks))()
        write_table(self.root, self.table or {"nobody": "0"})

    def move(self, root: Path) -> None:
        """Bring the folder to another place: under another name, or as a copy with other times."""
        self.broken = {root / path.relative_to(self.root) for path in self.broken}
        if self.random.random() < 0.5:
            self.root = self.root.rename(root)
        else:
            copy = shutil.copytree(self.root, root, copy_function=shutil.copyfile)
            shutil.rmtree(self.root)
            self.root = Path(copy)

    def place(self) -> Path:
        """Give a path to the folder: its own, or a new link to it."""
        if self.random.random() < 0.7:
            return self.root
        link = self.root.with_name(f"{self.root.name}-{self.random.randrange(10**9)}")
        link.symlink_to(self.root)
        return link

    def holds(self, name: str) -> bool:
        """Whether an image has a channel or a cell mask."""
        return any(path.parent.name != "hpa_nuclei_mask" for path in of_image(self.root, name))

    def rows(self) -> dict[str, str]:
        """Give the rows whose labels make sense."""
        return {
            name: labels for name, labels in self.table.items() if labels not in ("", "x", "99")
        }

    def channels(self, name: str) -> dict[str, str]:
        """Hash an image's channels."""
        paths = {of: channel(self.root, name, of) for of in CHANNELS}
        return {
            of: hashlib.sha256(p.read_bytes()).hexdigest() for of, p in paths.items() if p.is_file()
        }

    def decodable(self, name: str) -> bool:
        """Whether none of an image's files is broken."""
        return not any(
            path.name.startswith(f"{name}_") or path.stem == name for path in self.broken
        )

    def any_name(self) -> str:
        return self.random.choice(sorted(self.table) or ["nobody"])

    def any_file(self) -> Path | None:
        there = sorted(of_image(self.root, self.any_name()))
        return self.random.choice(there) if there else None

    def draw(self, name: str) -> None:
        self.drawn += 1
        for path in of_image(self.root, name):
            self.remove(path)
        kind = self.random.randint(1, 4)
        write_image(
            self.root,
            name,
            seed=self.drawn,
            mask=draw_mask(kind),
            nuclei=self.random.random() < 0.3,
        )
        with replaced(mask(self.root, name)) as path:
            np.savez(path, draw_mask(kind))

    def add(self) -> None:
        name = f"image-{self.drawn:02}"
        self.draw(name)
        self.table[name] = self.random.choice(["0", "5", "0|5"])

    def rewrite(self) -> None:
        name = self.any_name()
        if name != "nobody":
            self.draw(name)

    def other_mask(self) -> None:
        path = mask(self.root, self.any_name())
        if path.is_file() and path not in self.broken:
            with replaced(path):
                np.savez(path, moved_up(draw_mask(self.random.randint(1, 4))))

    def touch(self) -> None:
        if path := self.any_file():
            touch(path)

    def relabel(self) -> None:
        self.table[self.any_name()] = self.random.choice(["1", "7|8", "0"])

    def misspell(self) -> None:
        self.table[self.any_name()] = self.random.choice(["99", "", "x"])

    def drop(self) -> None:
        self.table.pop(self.any_name(), None)

    def put_back(self) -> None:
        names = {path.name.rpartition("_")[0] for path in self.root.rglob("*.png")} - set(
            self.table
        )
        if names:
            self.table[self.random.choice(sorted(names))] = "0"

    def remove(self, path: Path) -> None:
        path.unlink()
        self.broken.discard(path)

    def delete(self) -> None:
        if path := self.any_file():
            self.remove(path)

    def wipe(self) -> None:
        for path in of_image(self.root, self.any_name()):
            self.remove(path)

    def spoil(self) -> None:
        path = self.any_file()
        if path and path not in self.broken and path.stat().st_size > 20:
            spoil(path)
            self.broken.add(path)

    def nuclei(self) -> None:
        path = self.root / "hpa_nuclei_mask" / f"{self.any_name()}.npz"
        if path.is_file():
            self.remove(path)
        elif path.parent.is_dir():
            np.savez(path, draw_mask(1))

    def other_type(self) -> None:
        name = self.any_name()
        if mask(self.root, name).is_file():
            self.remove(mask(self.root, name))
            np.save(mask(self.root, name, ".npy"), draw_mask(2))

    def stranger(self) -> None:
        (self.root / "train" / f"stranger-{self.drawn:02}_red.png").write_bytes(b"who?")


def agrees(
    store: Store,
    world: World,
    layout: Layout,
    options: dict[str, Any],
    users: Sequence[CustomMeasure],
) -> tuple[int, int]:
    """Plan, ingest, and hold each against the other and the folder; give the numbers of work and rejects."""
    todo = plan(store, layout, **options)
    bad = {
        s.name
        for s in (*todo.new, *(c.source for c in todo.changed))
        if not world.decodable(s.name)
    }
    good = [s for s in (*todo.new, *(c.source for c in todo.changed)) if s.name not in bad]
    unmeasured = {s.name: "|".join(map(str, s.labels)) for s in todo.unmeasured}
    stale = {*todo.stale, *unmeasured, *(bad & stale_unless_replaced(store, users, **options))}
    before = {row["name"]: row["labels"] for row in rows(store, "SELECT name, labels FROM image")}
    relabelled = {name for name, labels in unmeasured.items() if labels != before[name]}
    done = take(store, layout, **options)
    assert done == Summary(
        new=len({s.name for s in todo.new} - bad),
        changed=len(changed(todo).keys() - bad),
        relabelled=len(todo.relabelled) + len(relabelled),
        remeasured=len(stale),
        gone=len({*todo.gone, *todo.pruned}),
        unchanged=todo.unchanged + len(unmeasured) - len(relabelled),
        returned=done.returned,
        resplit=len(todo.resplit),
        rejected=len(todo.rejected) + len(bad),
        rejected_before=done.rejected_before,
        cells=done.cells,
        images_decoded=len(good) + len(unmeasured),
    )
    again = plan(store, Layout(world.root))
    rejected = {failure.image_name for failure in todo.rejected} | bad
    assert (again.work, again.pruned) == (0, ())
    assert {failure.image_name for failure in again.rejected} == rejected
    assert {name for name, _ in failures(store)} == rejected
    follows(store, world, rejected)
    for user in users:
        assert set(live(store)) - rejected <= having(store, user)
    return todo.work, done.rejected


def stale_unless_replaced(
    store: Store,
    users: Sequence[CustomMeasure],
    background_percentile: float | None = None,
    **_: Any,
) -> set[str]:
    """Images whose numbers are not of the recipe that is asked for, or that lack one of histograms."""
    other = """SELECT name FROM image JOIN measurement_settings AS s ON s.id = settings_id
               WHERE background_percentile <> :q"""
    found = rows(store, other, q=background_percentile) if background_percentile else []
    every = {row["name"] for row in rows(store, "SELECT name FROM image")}
    lacking = {name for user in users if user.of_histogram for name in every - having(store, user)}
    return {row["name"] for row in found} | lacking


def having(store: Store, user: CustomMeasure) -> set[str]:
    """Images that have a measure as it is installed."""
    query = "SELECT name FROM image JOIN image_measure ON id = image_id WHERE measure = :m AND version = :v"
    return {row["name"] for row in rows(store, query, m=user.name, v=user.version)}


def follows(store: Store, world: World, rejected: set[str]) -> None:
    """Whether the live images are those of the table with files, with their labels and their bytes."""
    here = {name for name in world.table if world.holds(name)}
    assert here - rejected == set(live(store)) - rejected
    labels = {row["name"]: row["labels"] for row in rows(store, "SELECT name, labels FROM image")}
    kept = rows(
        store,
        "SELECT name, uri, sha256, size, mtime_ns FROM image_file JOIN image ON id = image_id",
    )
    for name in here - rejected:
        assert labels[name] == world.table[name]
    for row in kept:
        path = world.root / row["uri"]
        if row["name"] in here - rejected:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
            assert (path.stat().st_size, path.stat().st_mtime_ns) == (row["size"], row["mtime_ns"])
    mixed = "SELECT count(DISTINCT settings_id) FROM image"
    assert scalar(store, mixed) <= 1


INSTALLED = ((), (SPREAD,), (SHIFT,), (SHIFT, SPREAD), (SHIFT, replace(SPREAD, version=2)))
"""Measures of users that come, go and change from moment to moment."""


def met(store: Store, world: World, root: Path) -> tuple[int, int]:
    """Count the live images of a root that the folder holds with the same channels, and all of them."""
    query = (
        "SELECT name, role, sha256 FROM image JOIN image_file ON id = image_id "
        "WHERE root = :r AND gone_at IS NULL AND role NOT LIKE '%mask'"
    )
    stored: dict[str, dict[str, str]] = {}
    for row in rows(store, query, r=str(root)):
        stored.setdefault(row["name"], {})[row["role"]] = row["sha256"]
    there = world.rows()
    same = [
        name
        for name, channels in stored.items()
        if name in there and world.channels(name) == channels
    ]
    return len(same), len(stored)


def known_roots(store: Store) -> set[str]:
    query = "SELECT root FROM image UNION SELECT root FROM ingest_run JOIN failure ON run_id = ingest_run.id"
    return {row["root"] for row in rows(store, query)}


def moved_from(store: Store, world: World, before: Path) -> list[str]:
    """Say that the folder has moved, if that is not to be seen: fewer than four fifths are as they were.

    Where none is, nothing can show that it is the same root: it is forgotten.
    """
    same, live_ones = met(store, world, before)
    if live_ones and not same:
        forget(store, before)
        return []
    seen = live_ones > 0 and 5 * same >= 4 * live_ones
    return [] if seen or str(before) not in known_roots(store) else [str(before)]


def refused(store: Store, world: World, layout: Layout, options: dict[str, Any]) -> bool:
    """See that a run which is not allowed to is refused, and changes nothing; say whether any is."""
    before = dump(store, views=False)
    here = {name for name in world.table if world.holds(name)}
    there = list((world.root / "train").iterdir())
    if there and not any(of_image(world.root, name) for name in world.table):
        with pytest.raises(InputError, match=r"no row matches an image in"):
            take(store, layout, **options)
        assert dump(store, views=False) == before
        return True
    if not live(store) and not here and set(world.table) & set(world.rows()):
        with pytest.raises(InputError, match=r"no file of the \d+ images? in the table"):
            take(store, layout, **options)
        assert dump(store, views=False) == before
        return True
    gone = len(set(live(store)) - here)
    if gone == len(live(store)) > 0 or (gone > 10 and 5 * gone > len(live(store))):
        would_go = f"{gone} of {count_text(len(live(store)), 'image')} from here would be gone"
        with pytest.raises(InputError, match=would_go):
            take(store, layout, **{**options, "allow_gone": gone - 1})
        assert dump(store, views=False) == before
    else:
        options["allow_gone"] = 0
    return False


def splits(store: Store) -> dict[str, str | None]:
    return {row["name"]: row["split"] for row in rows(store, "SELECT name, split FROM image")}


def expected_split(
    world: World, name: str, before: dict[str, str | None], given: str | None, *, resplit: bool
) -> str | None:
    """Say which split an image has after a run: its own, unless it had none or the run may change it."""
    if name not in before:
        return given
    takes = given is not None and name in world.rows() and world.holds(name)
    return given if takes and (before[name] is None or resplit) else before[name]


@pytest.mark.soak
def test_ingest_does_what_the_plan_said_whatever_happened(
    make_store: MakeStore,
    database: str,
    tmp_path: Path,
    trials: Trials,
    figure: Figure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    histories, work, rejected, refusals = trials(quick=1, full=8, soak=300), 0, 0, 0
    for seed in range(histories):
        users: Sequence[CustomMeasure] = ()
        install(monkeypatch)
        store, world = make_store(database), World(tmp_path / f"history-{seed}", seed)
        for moment in range(8):
            options: dict[str, Any] = {"allow_gone": "all"}
            before = world.root
            if world.random.random() < 0.2:
                world.move(tmp_path / f"history-{seed}-{moment}")
            if world.root == before or world.random.random() < 0.5:
                world.step()
            if world.root != before:
                options["moved_from"] = moved_from(store, world, before)
            if world.random.random() < 0.2:
                options["prune"] = True
            if world.random.random() < 0.2:
                options["background_percentile"] = world.random.choice([0.5, 0.9, 0.99])
            if world.random.random() < 0.3:
                users = world.random.choice(INSTALLED)
                install(monkeypatch, *users)
            split = world.random.choice([None, None, "train", "val"])
            options["resplit"] = split is not None and world.random.random() < 0.2
            layout = Layout(world.place(), split=split)
            if refused(store, world, layout, options):
                refusals += 1
                continue
            had = splits(store)
            more = agrees(store, world, layout, options, users)
            work, rejected = work + more[0], rejected + more[1]
            elsewhere = rows(store, "SELECT name FROM image WHERE root <> :r", r=str(world.root))
            namesakes = {row["name"] for row in elsewhere}  # gone, of a root that was forgotten
            for name, now in splits(store).items():
                expected = expected_split(world, name, had, split, resplit=options["resplit"])
                assert now == (had[name] if name in namesakes else expected)
            live_roots = rows(store, "SELECT DISTINCT root FROM image WHERE gone_at IS NULL")
            assert [row["root"] for row in live_roots] in ([], [str(world.root)])
        shutil.rmtree(world.root)
        store.close()  # 300 open stores are more connections than PostgreSQL takes
    assert work > 5 * histories
    assert rejected > histories
    figure(
        f"{database}: {histories} histories of 8 moments, {work} images of work, {rejected} rejections "
        f"and {refusals} refused runs as planned"
    )
