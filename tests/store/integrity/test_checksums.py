from __future__ import annotations

import inspect
import pkgutil
import random
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, event, insert, select, text, true

import hpastore.store
from hpastore.classes import DEFAULT_CLASSES
from hpastore.clean.bound import Bound
from hpastore.clean.create import create_clean_set
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.kernels.custom import ImportedMeasure
from hpastore.kernels.definitions import CHANNEL_MEASURES, VERSIONS
from hpastore.kernels.image import measure, remeasure
from hpastore.model import Failure, FileRecord, Measured, MeasurementSettings
from hpastore.schema.clean_views import judge_all_sets
from hpastore.schema.row_info import covered_tables, row_info, table_of
from hpastore.schema.tables import (
    Base,
    Cell,
    CellChannel,
    CleanSet,
    CleanSetCell,
    Image,
    ImageChannel,
    StoredSettings,
)
from hpastore.schema.views import LABEL_THRESHOLD
from hpastore.store import arrays, custom_measures, imported_measures, migrate, write
from hpastore.store.bulk import store_checksums, verify_checksums
from hpastore.store.clean_sets.materialise import delete_clean_sets, set_frozen, write_clean_set
from hpastore.store.engine import Store, connect
from hpastore.store.integrity import checksums
from hpastore.store.integrity.doctor import doctor
from hpastore.store.overrides import Decision, delete_overrides, write_overrides
from hpastore.vocabulary import REASONS
from tests.conftest import Figure, MakeStore, Trials
from tests.store.test_decoding import load
from tests.world import (
    NOW,
    SHIFT,
    SPREAD,
    begin_run,
    cells,
    decoded,
    draw_mask,
    is_a_file,
    lacking,
    measured,
    put,
    scalar,
)


def drawn(
    name: str = "a",
    labels: tuple[int, ...] = (0,),
    *,
    n: int = 3,
    seed: int = 0,
    nuclei: bool = False,
) -> Measured:
    """An image of N bars, whose masks and histograms are what was drawn; of -1 it is one large cell."""
    mask = np.full((4, 5), 7) if n < 0 else draw_mask(n)
    made = measure(decoded(seed, mask, np.minimum(mask, 3) if nuclei else None), 0.99)
    height, width = mask.shape
    return replace(measured(name, labels, made), height=height, width=width)


def with_columns(image: Measured, **columns: str) -> Measured:
    """An image of which the label table says something more."""
    source = image.source._replace(columns=tuple(sorted(columns.items())))
    return replace(image, source=source)


def failure(name: str, code: str = "png", files: int = 5) -> Failure:
    return Failure(
        name, f"train/{name}_red.png", code, "cut short", drawn(name).source.files[:files]
    )


def everything(store: Store) -> None:
    """Fill every table, each column that may be NULL with and without a value."""
    put(store, drawn("old"), background_percentile=0.5)
    put(
        store,
        with_columns(drawn("a", (0, 16), nuclei=True), plate="P1", line="U2OS"),
        with_columns(drawn("b", (7,), n=2, seed=1), plate="P2"),
        drawn("none", (7,), n=0),
        drawn("full", (0,), n=-1),
        drawn("unlabelled", ()),
        lacking(drawn("bgr", (16,), seed=4), "yellow"),
        drawn("gone", (18,), n=1),
        drawn("replaced", (0,), seed=3),
    )
    with store.writing() as connection:
        first, second = begin_run(connection), begin_run(connection)
        write.count_run(connection, first, {"new": 6, "cells": 9})
        write.finish_run(connection, first, NOW)
        write.mark_gone(connection, ["gone"], NOW)
        write.move_images(connection, ["none"], "/other", "test")
        write.write_failures(
            connection, [failure("bad"), failure("lost", files=0)], run_id=second, now=NOW
        )
    for scope in ("single", "all"):
        create_clean_set(store, "mine", CleanRecipe(scope=scope, min_green=128))
    decide(store, ("a", 1, None, True, 0.5, "x", "fine"), ("a", 3, 16, False, None, None, None))
    decide(store, ("replaced", 1, 0, True, 0.25, "y", "gone"))
    create_clean_set(store, "rules", RULES)
    measure_by_users(store)
    put(store, drawn("replaced", (0,), n=-1))
    with store.writing() as connection:
        write.label_cells(connection, "a", {1: (18,), 3: (0, 7)}, NOW)


RULES = CleanRecipe(
    (Rule(), Rule("touches_border"), Rule("area", None, Bound(median=0.9), Bound(median=2))),
    labels={
        16: (Rule("fraction", "green", None, Bound(value=0.5), name="bright", where="no_nucleus"),)
    },
    scope="all",
    min_cells=2,
    guard="keep",
)
"""Each kind of bound, a condition, and reasons that are rules' names."""


NAN = float("nan")

USERS = [SPREAD, SHIFT]
"""One of each kind."""


def values_of(n: int, seed: float = 0.0) -> Any:
    """Values of the users' measures for N cells, of which the first has none."""
    found: dict[Any, list[float]] = {
        ("spread", "red"): [NAN, 2.5, 0.0, 1.0, 9.5][:n],
        ("spread", "green"): [seed] * n,
    }
    found["shift", None] = [seed] * n
    return {key: np.array(numbers, float) for key, numbers in found.items()}


def measure_by_users(store: Store) -> None:
    with store.writing() as connection:
        images: list[Any] = list(connection.execute(select(Image.id, Image.cell_count)))
        custom_measures.add_measures(connection, USERS, {key: values_of(n) for key, n in images})


def decide(store: Store, *decided: Any) -> None:
    with store.writing() as connection:
        write_overrides(connection, [Decision(*one) for one in decided], NOW)


def numbers(
    connection: Connection,
    images: Sequence[int],
    share: float,
    measures: Sequence[str] = ("fraction",),
) -> dict[int, dict[str, Any]]:
    """Levels at another percentile, and measures of histograms."""
    return {
        key: {channel: remeasure(counts, share, measures) for channel, counts in found.items()}
        for key, found in arrays.histograms(connection, images)
    }


FROM_HISTOGRAM = [m.name for m in CHANNEL_MEASURES if m.from_histogram]


def current_settings_id(connection: Connection) -> int:
    return connection.execute(select(StoredSettings.id).where(StoredSettings.current)).scalar_one()


def again(connection: Connection, settings_id: int, images: Sequence[int], share: float) -> None:
    write.remeasure_images(connection, settings_id, numbers(connection, images, share))


def broken(connection: Connection) -> list[str]:
    """Names of the rows whose checksum does not match."""
    return [
        found.name for found in checksums.compare_all(connection) if found.stored != found.computed
    ]


def stored(store: Store) -> dict[str, int | None]:
    with store.reading() as connection:
        return {found.name: found.stored for found in checksums.compare_all(connection)}


@contextmanager
def unchecked(store: Store) -> Iterator[Connection]:
    """Change rows as a broken disk does: past foreign keys, and on SQLite past other constraints."""
    pragmas = ("foreign_keys = {}", "ignore_check_constraints = {}") if store.is_sqlite else ()
    with store.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        for pragma, value in zip(pragmas, ("OFF", "ON"), strict=False):
            driver.execute(f"PRAGMA {pragma.format(value)}")
        with connection.execution_options(hpastore_writes=True).begin():
            if not store.is_sqlite:
                connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            yield connection
        for pragma, value in zip(pragmas, ("ON", "OFF"), strict=False):
            driver.execute(f"PRAGMA {pragma.format(value)}")


# Every way to write


class World:
    """A store, what was put into it, and every way to change it."""

    def __init__(self, connection: Connection, rng: random.Random) -> None:
        self.connection, self.rng = connection, rng
        self.images: dict[str, Measured] = {}
        self.settings_id = write.adopt_settings(connection, MeasurementSettings(0.99, VERSIONS))
        self.run_id = begin_run(connection)

    def steps(self) -> dict[str, Callable[[], object]]:
        return {
            "adopt": self.adopt,
            "begin": self.begin,
            "count": self.count,
            "finish": lambda: write.finish_run(self.connection, self.run_id, self.now()),
            "write": self.write,
            "relabel": self.relabel,
            "label cells": self.label_cells,
            "touch": self.touch,
            "move": self.move,
            "move root": self.move_root,
            "split": self.split_some,
            "gone": lambda: write.mark_gone(self.connection, self.some(), self.now()),
            "delete": self.delete,
            "remeasure": self.remeasure,
            "fail": self.fail,
            "forget": lambda: write.forget_tries(self.connection, self.failed()),
            "clear": lambda: write.clear_failures(self.connection, self.failed()),
            "clean": self.clean,
            "rules": self.rules,
            "freeze": lambda: set_frozen(self.connection, self.a_set(), frozen=True),
            "drop": lambda: delete_clean_sets(self.connection, [self.a_set()]),
            "decide": self.decide,
            "measure": self.measure,
            "import": self.import_values,
            "undo": lambda: delete_overrides(self.connection, [("a", 1), ("b", 3)]),
        }

    def now(self) -> Any:
        return NOW + timedelta(seconds=self.rng.random())

    def some(self) -> list[str]:
        return self.rng.sample(sorted(self.images), self.rng.randint(0, len(self.images)))

    def labels(self) -> tuple[int, ...]:
        return tuple(sorted(self.rng.sample((0, 3, 7, 18), self.rng.randint(0, 2))))

    def columns(self) -> tuple[tuple[str, str], ...]:
        """What a run keeps, none or two columns, and what the table says there."""
        names = self.rng.choice([(), ("line", "plate")])
        return tuple((name, self.rng.choice(["", "P1", "é"])) for name in names)

    def failed(self) -> list[str]:
        return self.rng.sample(["bad", "a", "nobody"], 2)

    def split(self) -> str | None:
        return self.rng.choice([None, "train", "test"])

    def adopt(self) -> None:
        settings = MeasurementSettings(self.rng.choice([0.5, 0.9, 0.99, -0.0]), VERSIONS)
        self.settings_id = write.adopt_settings(self.connection, settings)

    def begin(self) -> None:
        self.run_id = begin_run(self.connection)

    def count(self) -> None:
        names = self.rng.sample(sorted(write.COUNTERS), self.rng.randint(0, 3))
        write.count_run(
            self.connection, self.run_id, {name: self.rng.randint(0, 9) for name in names}
        )

    def write(self) -> None:
        name = self.rng.choice("abcde")
        n, seed = self.rng.choice([-1, 0, 1, 2, 3, 5]), self.rng.randint(0, 99)
        image = drawn(name, self.labels(), n=n, seed=seed, nuclei=self.rng.random() < 0.5)
        image = replace(image, source=image.source._replace(columns=self.columns()))
        columns = {"root": "/dätä", "split": self.split(), "ingested_at": self.now()}
        write.write_image(self.connection, image, {"settings_id": self.settings_id, **columns})
        self.images[name] = image

    def relabel(self) -> None:
        for name in self.some()[:1]:
            source = self.images[name].source
            source = source._replace(labels=self.labels(), columns=self.columns())
            write.relabel_image(self.connection, source, "/elsewhere", self.split())

    def label_cells(self) -> None:
        for name in self.some()[:1]:
            cells = self.images[name].cells.mask_ids.tolist()
            labels = {k: self.labels() for k in cells if self.rng.random() < 0.5}
            write.label_cells(self.connection, name, labels, self.now())

    def touch(self) -> None:
        for name in self.some()[:1]:
            image = self.images[name]
            files = [file._replace(mtime_ns=self.rng.randint(0, 2**60)) for file in image.files]
            extra = FileRecord("nucleus_mask", "n.npz", 3, self.rng.randint(0, 9), "0f")
            files = files + [extra] * self.rng.randint(0, 1)
            source = image.source._replace(labels=self.labels(), columns=self.columns())
            write.touch_image(self.connection, source, files, "/elsewhere", self.split())

    def move(self) -> None:
        root = self.rng.choice(["/data", "/tmp", "/dätä"])
        write.move_images(self.connection, self.some(), root, self.split())

    def move_root(self) -> None:
        self.fail()
        self.begin()  # so that the failures are those of an earlier run in "/data"
        for before in ("/data", "/dätä"):
            write.move_root(
                self.connection, before, self.rng.choice(["/tmp", "/moved"]), self.run_id
            )

    def split_some(self) -> None:
        write.split_images(self.connection, self.some(), self.split())

    def delete(self) -> None:
        names = self.some()[:2]
        write.delete_images(self.connection, names)
        for name in names:
            del self.images[name]

    def remeasure(self) -> None:
        settings_id = current_settings_id(self.connection)
        named = select(Image.id).where(Image.name.in_(self.some()))
        images = list(self.connection.execute(named).scalars())
        measures = self.rng.sample(FROM_HISTOGRAM, self.rng.randint(0, len(FROM_HISTOGRAM)))
        new = numbers(self.connection, images, self.rng.random(), measures)
        write.remeasure_images(self.connection, settings_id, new)

    def fail(self) -> None:
        failures = [failure(name, self.rng.choice(["png", "io"]), 3) for name in self.failed()]
        write.write_failures(self.connection, failures, run_id=self.run_id, now=self.now())

    def clean(self) -> None:
        columns = {
            "name": "mine",
            "min_green": self.rng.choice([0, 200]),
            "recipe_toml": "",
            "frozen": False,
        }
        rule = {
            "measure": "fraction",
            "channel": "green",
            "lower_percentile": 0.1,
            "upper_percentile": None,
        }
        scope = self.rng.choice(["single", "all"])
        values = {"label_id": None, "lower_value": None, "upper_value": -0.0}
        write_clean_set(
            self.connection,
            {**columns, "scope": scope, "created_at": self.now()},
            [{**rule, **values}],
            DEFAULT_CLASSES,
        )

    def rules(self) -> None:
        columns = {
            "name": "rules",
            "min_green": 3,
            "recipe_toml": "",
            "frozen": False,
            "scope": "all",
        }
        columns |= {"min_cells": 2, "guard": "keep", "created_at": self.now()}
        columns["small_labels"] = self.rng.choice([None, "image", "all"])
        rules = RULES.rows(DEFAULT_CLASSES, {"line": ["P1"]})
        write_clean_set(self.connection, columns, rules, DEFAULT_CLASSES)

    def measure(self) -> None:
        images = self.connection.execute(select(Image.id, Image.cell_count)).all()
        some = self.rng.sample(images, min(len(images), 2))
        users = [replace(user, version=self.rng.randint(1, 3)) for user in USERS]
        values = {key: values_of(n, self.rng.choice([-0.0, 1 / 3])) for key, n in some}
        custom_measures.add_measures(self.connection, users, values)

    def import_values(self) -> None:
        cells = self.connection.execute(select(Cell.image_id, Cell.mask_id, Cell.id)).all()
        some = self.rng.sample(cells, min(len(cells), 4))
        values = {
            (imported_measures.CellKey(*cell), ""): self.rng.choice([None, 0.0, 1 / 3])
            for cell in some
        }
        scores = ImportedMeasure("scores", self.rng.randint(1, 2))
        imported_measures.write_values(self.connection, scores, values, force=True)

    def a_set(self) -> int:
        return int(self.rng.choice([*self.connection.execute(select(CleanSet.id)).scalars(), -1]))

    def decide(self) -> None:
        cells = self.connection.execute(select(Image.name, Cell.mask_id).join(Cell)).all()
        some = self.rng.sample(cells, min(len(cells), 2))
        decided = [
            Decision(*cell, self.rng.choice([None, 7]), True, 0.5, None, "ä") for cell in some
        ]
        write_overrides(self.connection, decided, self.now())


def test_after_every_write_all_checksums_match(store: Store) -> None:
    with store.writing() as connection:
        world = World(connection, random.Random(1))
        for name, step in world.steps().items():
            for _ in range(5):
                world.write()
                step()
                assert broken(connection) == [], name
        world.fail()
    with store.reading() as connection:
        assert broken(connection) == []
        tables = {found.table.name for found in checksums.compare_all(connection)}
    assert tables == {"label", "image", "clean_set", "cell_override", "measurement_settings"}
    assert tables == {table.name for table in Base.metadata.sorted_tables if "checksum" in table.c}


ACCOUNTS = {"ingest_run", "failure", "failure_file", "measure"}
"""No checksum covers them, as no result depends on them."""


def test_every_table_is_covered_or_only_keeps_account() -> None:
    owners = [table for table in Base.metadata.sorted_tables if "checksum" in table.c]
    covered = [*owners, *(table for owner in owners for table in covered_tables(owner))]
    assert len(covered) == len(set(covered))
    names = {table.name for table in covered}
    names |= {str(row_info(table).extended_by) for table in covered} - {"None"}
    # Of the view: it shows columns of cell.
    assert names - {"cell_channel"} == {t.name for t in Base.metadata.sorted_tables} - ACCOUNTS


@pytest.mark.soak
def test_after_any_history_all_checksums_match(
    store: Store, figure: Figure, trials: Trials
) -> None:
    done = 0
    for seed in range(trials(quick=1, full=6, soak=300)):
        rng = random.Random(seed)
        with store.writing() as connection:
            world = World(connection, rng)
            steps = world.steps()
            for _ in range(40):
                name = rng.choice(list(steps))
                steps[name]()
                assert broken(connection) == [], (seed, name)
                done += 1
            connection.rollback()
    figure(f"checksums: {done} random writes on {store.engine.dialect.name}: all match after each")


def test_the_checksum_of_minus_zero_and_nan_is_that_of_what_comes_back(store: Store) -> None:
    image = measured("a", made=cells(2, green_entropy=[-0.0, 1.0], green_fraction=[-0.0, np.nan]))
    stats = {
        name: replace(stats, background_level=-0.0) for name, stats in image.cells.channels.items()
    }
    put(store, replace(image, cells=replace(image.cells, channels=stats)))
    with store.writing() as connection:
        assert broken(connection) == []
        channels = {
            "green": (-0.0, {"fraction": np.array([np.nan, -0.0])}),
            "red": (np.nan, {"fraction": np.array([0.5, -0.0])}),
        }
        write.remeasure_images(connection, 1, {1: {**numbers(connection, [1], 0.5)[1], **channels}})
        assert broken(connection) == []


def test_every_function_that_writes_is_one_of_these_steps() -> None:
    """So that a new one is thought of here."""
    found = {
        name
        for module in pkgutil.walk_packages(hpastore.store.__path__, "hpastore.store.")
        for name, value in vars(import_module(module.name)).items()
        if writes(value)
    }
    assert found == {
        *("begin_run", "count_run", "adopt_settings", "write_settings", "finish_run"),
        "write_classes",  # of an empty store
        *(
            "write_image",
            "relabel_image",
            "label_cells",
            "touch_image",
            "move_images",
            "mark_gone",
            "delete_images",
        ),
        *("move_root", "split_images"),
        *("remeasure_images", "add_measures", "adopt_measures", "write_measures", "write_values"),
        *("write_failures", "clear_failures", "forget_tries"),
        *(
            "write_clean_set",
            "set_frozen",
            "delete_clean_sets",
            "write_overrides",
            "delete_overrides",
        ),
        *("insert_rows", "insert_children", "replace_children", "change"),
        *("store_checksums", "verify_checksums"),
    }


def writes(value: object) -> bool:
    """Whether it is a public function of the store's that changes rows, by its own text."""
    if not inspect.isfunction(value) or value.__name__[0] == "_":
        return False
    if not value.__module__.startswith("hpastore.store."):
        return False
    statements = (
        r"(?<![.\w])(insert|update|delete|change|insert_rows|insert_children|replace_children)\("
        r"|(?<![.\w])(_delete|_insert|_insert_or_replace|_store|_replace_measures)\(|INSERT|_DELETE\b"
    )
    return re.search(statements, inspect.getsource(value)) is not None


# What a checksum says


def test_both_databases_have_the_same_checksums(make_store: MakeStore) -> None:
    found = []
    for database in ("sqlite", "postgresql"):
        store = make_store(database)
        everything(store)
        with unchecked(store) as connection:  # the program gave it a moment of its own
            connection.execute(
                text("UPDATE clean_set SET created_at = '2024-05-06T07:08:09.000001+00:00'")
            )
            store_checksums(connection, CleanSet, true())
        found.append(stored(store))
    assert len(found[0]) == 19 + 2 + 3 + 3 + 9
    assert found[0] == found[1]


def test_a_checksum_does_not_vouch_for_what_was_damaged_before(store: Store) -> None:
    everything(store)
    with unchecked(store) as connection:
        connection.execute(text("UPDATE cell SET pieces = pieces + 1 WHERE mask_id = 3"))
        connection.execute(text("UPDATE image_file SET size = size + 1 WHERE role = 'red'"))
        connection.execute(text("UPDATE image SET bit_depth = 16"))
        connection.execute(
            text("UPDATE measurement_settings SET background_percentile = 0.25 WHERE current")
        )
        before = broken(connection)
        assert set(before) >= {"image a", "measurement settings 2"}
        assert all(name.startswith(("measurement settings", "image")) for name in before)
    with store.writing() as connection:
        names = ["old", "a", "b", "none", "full", "unlabelled", "gone", "replaced"]
        write.mark_gone(connection, names, NOW)
        write.move_images(connection, names, "/moved", "test")
        write.split_images(connection, names, "train")
        for root in ("/moved", "/data"):
            write.move_root(connection, root, "/there", 1)
        for name in names:
            image = drawn(name, (3,))
            write.relabel_image(connection, image.source, "/again", None)
        settings_id = current_settings_id(connection)
        again(connection, settings_id, list(connection.execute(select(Image.id)).scalars()), 0.7)
        write.adopt_settings(connection, MeasurementSettings(0.75, VERSIONS))
        assert broken(connection) == before


def test_a_checksum_that_was_never_computed_stays_so_until_it_is(store: Store) -> None:
    everything(store)
    with unchecked(store) as connection:
        connection.execute(text("UPDATE image SET checksum = NULL WHERE name = 'a'"))
        connection.execute(text("UPDATE clean_set SET checksum = NULL"))
    with store.writing() as connection:
        write.move_images(connection, ["a"], "/moved", None)
        write.write_image(
            connection, drawn("b"), {"root": "/", "settings_id": 2, "ingested_at": NOW}
        )
    missing = ["clean set mine@1", "clean set mine@2", "clean set rules@1", "image a"]
    assert sorted(name for name, checksum in stored(store).items() if checksum is None) == missing
    findings = doctor(store, deep=True)
    assert sorted(finding.where for finding in findings) == missing
    assert {finding.what for finding in findings} == {"its checksum was never computed"}
    with store.writing() as connection:
        verify_checksums(connection)
    assert doctor(store, deep=True) == []


def test_rows_of_channels_are_those_of_the_view(store: Store) -> None:
    put(store, drawn("a"), lacking(drawn("b"), "yellow"), drawn("c"))
    view = table_of(CellChannel)
    expected: dict[int, dict[tuple[str], dict[str, list[object]]]] = {}
    with store.reading() as connection:
        found = checksums.stored_blocks(connection, CellChannel, Image.name != "c")
        statement = select(Cell.image_id, Cell.mask_id, *view.c).join(
            Cell, Cell.id == view.c.cell_id
        )
        statement = statement.join(Image, Image.id == Cell.image_id).where(Image.name != "c")
        for row in connection.execute(statement.order_by(Cell.mask_id)).mappings():
            columns = expected.setdefault(row["image_id"], {}).setdefault((row["channel"],), {})
            for name, value in row.items():
                if name not in ("image_id", "cell_id", "channel"):
                    columns.setdefault(name, []).append(value)
    assert sorted(map(len, expected.values())) == [3, 4]
    as_lists = {
        image: {
            group: {name: list(values) for name, values in columns.items()}
            for group, columns in groups.items()
        }
        for image, groups in found.items()
    }
    assert as_lists == expected


@pytest.mark.parametrize("revision", ["0001", "0004", "0006", "0007"])
def test_an_upgraded_store_has_all_checksums(revision: str, empty_url: str, database: str) -> None:
    load(empty_url, revision, database)
    with connect(empty_url) as store:
        migrate.upgrade(store)
        found = stored(store)
        assert len(found) >= 19 + 1 + 2 + 4
        assert None not in found.values()
        assert doctor(store, deep=True) == []


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE clean_set_cell SET reason = 'dark' WHERE clean_set_id = 1", "clean set mine@1"),
        ("UPDATE clean_set_threshold SET lower = 0.5 WHERE clean_set_id = 1", "clean set mine@1"),
        ("UPDATE cell_override SET keep = NOT keep", "override of image-00:1"),
    ],
)
def test_an_upgrade_does_not_vouch_for_clean_sets_and_overrides(
    statement: str, where: str, empty_url: str, database: str
) -> None:
    load(empty_url, "0004", database)
    with connect(empty_url) as store:
        with store.writing() as connection:
            connection.execute(text(statement))
        migrate.upgrade(store)
        assert where in [finding.where for finding in doctor(store, deep=True)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x": [1, 2]}, {"x": [12]}),
        ({"x": [1, 2], "y": [3, 4]}, {"x": [3, 4], "y": [1, 2]}),
        ({"x": [1, None]}, {"x": [None, 1]}),
        ({"x": [1.0, 2.0]}, {"x": [1, 2]}),
        ({"x": [0.0]}, {"x": [-0.0]}),
        ({"x": [0.1]}, {"x": [np.nextafter(0.1, 1)]}),
        ({"x": [None, 0.1]}, {"x": [float("nan"), 0.1]}),
        ({"x": ["a", "b"]}, {"x": ["ab", ""]}),
        ({"x": ["\x00"]}, {"x": ["\\u0000"]}),
        ({"x": [b"ab"]}, {"x": ["ab"]}),
        ({"x": [1], "y": [1.5]}, {"x": [1], "z": [1.5]}),
        ({"x": [1.5, 2.5], "y": [3.5]}, {"x": [1.5], "y": [2.5, 3.5]}),
    ],
)
def test_other_values_have_other_numbers(one: checksums.Columns, other: checksums.Columns) -> None:
    blocks = [{(): columns} for columns in (one, other)]
    assert checksums.blocks_number(Cell, blocks[0]) != checksums.blocks_number(Cell, blocks[1])


def test_the_same_values_elsewhere_have_other_numbers() -> None:
    columns = {"fraction": [0.5], "entropy": [0.5]}
    numbers = [
        checksums.blocks_number(model, {group: columns})
        for model, group in ((CellChannel, ("red",)), (CellChannel, ("green",)), (Cell, ("red",)))
    ]
    assert len(set(numbers)) == 3


def test_a_column_without_a_value_does_not_matter() -> None:
    """So that a migration may add one."""
    columns: dict[str, list[Any]] = {"mask_id": [1, 2], "x": [3, 4]}
    more = {**columns, "new": [None, None]}
    assert checksums.blocks_number(Cell, {(): more}) == checksums.blocks_number(Cell, {(): columns})
    row = {"name": "a", "width": 3}
    assert checksums.row_number(Image, {**row, "split": None}) == checksums.row_number(Image, row)


def test_numbers_never_change() -> None:
    """Every version to come must find that a store is whole."""
    row = {
        "name": "a",
        "width": 3,
        "root": "/ä",
        "settings_id": 1,
        "ingested_at": NOW,
        "split": None,
    }
    assert checksums.row_number(Image, row) == 9_046_787_457_831_728_722
    shapes: dict[str, list[Any]] = {
        "mask_id": [1, 3],
        "touches_border": [True, False],
        "rle": ["13", "ä"],
    }
    assert (
        checksums.blocks_number(Cell, {(): {**shapes, "nucleus_area": [None, 7]}})
        == 5_927_375_304_680_817_534
    )
    levels: checksums.Blocks = {
        ("green",): {"background_level": [35.5], "histogram": [b"\x00\xff"]}
    }
    assert checksums.blocks_number(ImageChannel, levels) == 925_252_772_051_980_420
    measures: dict[str, list[Any]] = {
        "mask_id": [1, 3],
        "intensity_max": [200, 255],
        "entropy": [0.1, 2.0],
    }
    channels: checksums.Blocks = {
        ("green",): {**measures, "fraction": [0.5, 0.25]},
        ("red",): {**measures, "fraction": [None, None]},
    }
    assert checksums.blocks_number(CellChannel, channels) == 15_900_013_228_484_394_006


# Verdicts


def plain_number(
    cell_id: int, label_id: int, clean: bool, reason: str | None, value: float | None = None
) -> int:
    judgement = (
        label_id * 64 + clean * 32 + (0 if reason is None else checksums.REASONS.get(reason, 31))
    )
    number = (cell_id % (2**31 - 19) + 1) * (judgement + 1) % (2**31 - 1)
    if value is None:
        return number
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    return number + (split_mix(bits ^ split_mix(cell_id)) >> 33)


def split_mix(bits: int) -> int:
    bits = (bits + 0x9E3779B97F4A7C15) % 2**64
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
    return bits ^ bits >> 31


CELLS = (1, 2, 2**31 - 20, 2**31 - 19, 2**31 - 2, 2**31 - 1, 2**31, 2**40, 2**62)
VERDICTS: list[tuple[int, int, bool, str | None, float | None]] = [
    (cell_id, label_id, clean, reason, value)
    for cell_id in CELLS
    for label_id in (0, 1, 18)
    for clean, reason, value in (
        (True, None, None),
        (False, "dark", 0.0),
        (False, "above_upper", 0.1),
        (False, "of tomorrow", -2e300),
    )
]


def test_both_databases_sum_up_verdicts_as_python_does(store: Store) -> None:
    names = ("cell_id", "label_id", "clean", "reason", "value")
    with unchecked(store) as connection:
        for place, verdict in enumerate(VERDICTS):
            values = dict(zip(names, verdict, strict=True))
            connection.execute(insert(CleanSetCell), [{"clean_set_id": place, **values}])
        found = checksums.verdict_sums(connection)
        some = checksums.verdict_sums(connection, CleanSetCell.clean_set_id < 5)
    assert found == {place: plain_number(*values) for place, values in enumerate(VERDICTS)}
    assert sorted(some) == [0, 1, 2, 3, 4]
    assert min(found.values()) > 0
    assert max(found.values()) < 2**32


def test_each_value_of_a_verdict_changes_its_number() -> None:
    reasons = (None, *checksums.REASONS, "of tomorrow")
    for cell_id in CELLS:
        numbers = {
            plain_number(cell_id, label_id, clean, reason)
            for label_id in range(19)
            for clean in (False, True)
            for reason in reasons
        }
        assert len(numbers) == 19 * 2 * len(reasons)
    for bit in range(62):
        for cell_id in CELLS:
            numbers = {plain_number(key, 7, False, "dark") for key in (cell_id, cell_id ^ 1 << bit)}
            assert len(numbers) == 2, (bit, cell_id)
    for bit in range(64):
        (value,) = struct.unpack("<d", struct.pack("<Q", 0x3FD5555555555555 ^ 1 << bit))
        numbers = {plain_number(7, 7, False, "dark", v) for v in (1 / 3, value, None)}
        assert len(numbers) == 3, bit


def test_every_reason_has_a_number_of_its_own() -> None:
    judged = judge_all_sets(LABEL_THRESHOLD.table).compile(compile_kwargs={"literal_binds": True})
    assert set(re.findall(r"THEN '(\w+)'", str(judged))) | set(REASONS) == set(checksums.REASONS)
    assert sorted(checksums.REASONS.values()) == list(range(1, 11))


def test_the_checksum_of_a_clean_set_follows_verdicts_that_are_archived(store: Store) -> None:
    everything(store)
    before = scalar(store, "SELECT checksum FROM clean_set WHERE version = 2")
    put(store, drawn("a", (0, 16), seed=5))
    with store.writing() as connection:
        write.delete_images(connection, ["b", "full"])
        assert broken(connection) == []
    assert scalar(store, "SELECT checksum FROM clean_set WHERE version = 2") != before
    assert scalar(store, "SELECT count(*) FROM clean_set_former") > 0
    assert scalar(store, "SELECT count(*) FROM clean_set_cell") > 0


# What it costs


def statements(store: Store, n: int) -> list[tuple[str, Any]]:
    """What the database is asked when an image is replaced, counted and marked among N others."""
    put(store, *(drawn(f"image-{i}", n=1) for i in range(n)), drawn("a"))
    create_clean_set(store, "mine")
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        del connection, cursor, rest
        asked.append((statement, parameters))

    with store.writing() as connection:
        run_id = begin_run(connection)
        event.listen(connection, "before_cursor_execute", note)
        columns = {"root": "/data", "settings_id": 1, "ingested_at": NOW}
        write.write_image(connection, drawn("a", seed=1), columns)
        write.count_run(connection, run_id, {"new": 1})
        write.mark_gone(connection, ["a"], NOW)
        write.relabel_image(connection, drawn("a", (3,)).source, "/data", None)
        event.remove(connection, "before_cursor_execute", note)
    return asked


def test_a_checksum_takes_no_statement_that_grows_with_the_store(
    make_store: MakeStore, database: str
) -> None:
    few, many = (statements(make_store(database), n) for n in (1, 40))
    assert [statement for statement, _ in few] == [statement for statement, _ in many]
    assert len(few) < 35


@is_a_file
def test_a_checksum_looks_at_no_whole_table(store: Store) -> None:
    asked = [entry for entry in statements(store, 3) if not isinstance(entry[1], list)]
    assert len(asked) > 10
    with store.reading() as connection:
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", parameters
            ).fetchall()
            assert not [step for step in plan if step[3].startswith("SCAN")], statement
