"""A program with another version of one measure, or one measure more, meets stores of an older one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

import hpastore
from hpastore.clean.create import create_clean_set
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.ingestion import remeasure as module
from hpastore.ingestion.catalogue import measures
from hpastore.ingestion.remeasure import remeasure
from hpastore.ingestion.run import plan
from hpastore.kernels import definitions, image
from hpastore.kernels.definitions import CHANNEL_MEASURES, VERSIONS
from hpastore.model import MeasurementSettings
from hpastore.runtime import failpoints
from hpastore.store import write
from hpastore.store.bulk import verify_checksums
from hpastore.store.engine import Store
from hpastore.store.integrity.doctor import doctor
from hpastore.store.integrity.dump import dump
from hpastore.store.overrides import Decision, write_overrides
from hpastore.vocabulary import CHANNELS
from tests.conftest import MakeStore
from tests.ingestion.changes import A, B, C, take
from tests.world import NOW, dataset, rows, scalar

FROM_HISTOGRAM = [m.name for m in CHANNEL_MEASURES if m.from_histogram]
FROM_MASK = ["border_share", "nucleus_size", "second_nucleus", "nucleus_cut"]
FROM_PIXELS = [m.name for m in CHANNEL_MEASURES if not m.from_histogram] + FROM_MASK

Program = Callable[..., None]


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Program:
    """Let the program become one with other versions of some measures, whose formula has changed."""

    def newer(**versions: int) -> None:
        monkeypatch.setattr(definitions, "VERSIONS", {**VERSIONS, **versions})
        for function in ("intensity_measures", "pixel_sum_measures"):
            monkeypatch.setattr(image, function, doubled(getattr(image, function), versions))

    return newer


def doubled(formula: Callable[..., Any], names: Iterable[str]) -> Callable[..., Any]:
    def changed(*given: Any) -> dict[str, Any]:
        found = formula(*given)
        return {name: 2 * v if name in names else v for name, v in found.items()}

    return changed


def without(*names: str) -> dict[str, int]:
    return {name: version for name, version in VERSIONS.items() if name not in names}


def as_before(
    store: Store, *names: str, levels: str = "257", images: Iterable[str] = (A, B, C)
) -> None:
    """Leave images as an older program did, which had no such measures and other levels."""
    of_cell = [name for name in names if name in FROM_MASK]
    of_channel = [name for name in names if name not in FROM_MASK]
    columns = of_cell + [f"{channel}_{name}" for name in of_channel for channel in CHANNELS]
    empty = ", ".join(f"{column} = NULL" for column in columns)
    with store.writing() as connection:
        settings = MeasurementSettings(0.99, without(*names), levels)
        key = write.adopt_settings(connection, settings)
        for name in images:
            image_id = f"(SELECT id FROM image WHERE name = '{name}')"
            if empty:
                connection.execute(text(f"UPDATE cell SET {empty} WHERE image_id = {image_id}"))
            connection.execute(
                text("UPDATE image SET settings_id = :key, checksum = NULL WHERE name = :name"),
                {"key": key, "name": name},
            )
        verify_checksums(connection)


def settings_of(store: Store) -> dict[str, MeasurementSettings]:
    found = rows(
        store,
        "SELECT name, background_percentile, measures, levels FROM image "
        "JOIN measurement_settings AS s ON s.id = settings_id",
    )
    return {
        row["name"]: MeasurementSettings(
            row["background_percentile"], json.loads(row["measures"]), row["levels"]
        )
        for row in found
    }


def column(store: Store, name: str) -> list[Any]:
    return [row[name] for row in rows(store, f"SELECT {name} FROM cell ORDER BY image_id, mask_id")]


def why(store: Store, root: Path) -> dict[str, str]:
    return {change.source.name: change.why for change in plan(store, root).changed}


def delete_files(root: Path) -> None:
    for path in root.rglob("*.png"):
        path.unlink()


# Measures of histograms


@pytest.mark.parametrize(
    "names",
    [
        ("entropy",),
        ("intensity_median", "saturated"),
        ("fraction",),
        ("intensity_p99", "intensity_p999"),
    ],
)
def test_a_new_measure_of_histograms_is_filled_without_a_pixel(
    store: Store, tmp_path: Path, names: tuple[str, ...]
) -> None:
    root = dataset(tmp_path, 3, nuclei=True)
    take(store, root)
    fresh = list(dump(store))
    as_before(store, *names)
    assert list(dump(store)) != fresh
    assert doctor(store, deep=True) == []
    todo = plan(store, root)
    assert (todo.stale, todo.changed, todo.work) == ((A, B, C), (), 3)
    assert hpastore.status(store).stale == 3
    delete_files(root)
    assert remeasure(store).remeasured == 3
    assert list(dump(store)) == fresh
    assert doctor(store, deep=True) == []
    assert remeasure(store).remeasured == 0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("intensity_max", "entropy") else pytest.mark.full)
        for name in FROM_HISTOGRAM
        if name != "fraction"
    ],
)
def test_a_changed_formula_of_histograms_gives_the_numbers_of_a_fresh_store(
    make_store: MakeStore, database: str, tmp_path: Path, newer: Program, name: str
) -> None:
    ours, fresh = make_store(database), make_store(database)
    root = dataset(tmp_path, 3)
    take(ours, root)
    before = list(dump(ours))
    newer(**{name: 2})
    take(fresh, root)
    assert before != list(dump(fresh))
    assert remeasure(ours).remeasured == 3
    assert list(dump(ours)) == list(dump(fresh))
    assert doctor(ours, deep=True) == []
    assert plan(ours, root).work == 0


def test_ingest_fills_them_too_and_with_another_percentile(
    make_store: MakeStore, database: str, tmp_path: Path
) -> None:
    ours, fresh = make_store(database), make_store(database)
    root = dataset(tmp_path, 3)
    take(ours, root)
    take(fresh, root, background_percentile=0.5)
    as_before(ours, "entropy")
    done = take(ours, root, background_percentile=0.5)
    assert (done.remeasured, done.images_decoded) == (3, 0)
    assert list(dump(ours)) == list(dump(fresh))


def test_no_other_column_is_replaced_and_damage_stays_noticed(store: Store, tmp_path: Path) -> None:
    take(store, dataset(tmp_path, 3))
    as_before(store, "entropy")
    with store.writing() as connection:
        connection.execute(text("UPDATE cell SET red_intensity_mean = 7, red_fraction = 0.125"))
    remeasure(store)
    assert set(column(store, "red_intensity_mean")) == {7}
    assert set(column(store, "red_fraction")) == {0.125}
    assert None not in column(store, "red_entropy")
    found = {finding.where for finding in doctor(store, deep=True) if "checksum" in finding.what}
    assert found == {f"image {name}" for name in (A, B, C)}


# Measures of pixels


@pytest.mark.parametrize("name", FROM_PIXELS)
def test_a_new_measure_of_pixels_is_null_until_the_next_ingest(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    root = dataset(tmp_path, 3, nuclei=True)
    take(store, root)
    fresh = list(dump(store))
    as_before(store, name)
    older = list(dump(store))
    assert why(store, root) == dict.fromkeys((A, B, C), f"lacks the current version of {name}")
    caplog.clear()
    assert remeasure(store).remeasured == 0
    assert caplog.messages == [
        f"3 images lack the current version of {name}; ingest their roots again"
    ]
    assert list(dump(store)) == older
    status = hpastore.status(store)
    assert (status.stale, status.unmeasured, status.unmeasured_measures) == (0, 3, (name,))
    done = take(store, root)
    assert (done.changed, done.remeasured) == (3, 0)
    assert list(dump(store)) == fresh
    assert plan(store, root).work == 0
    assert hpastore.status(store).unmeasured == 0


def test_what_follows_from_histograms_is_computed_and_settings_say_what_an_image_has(
    make_store: MakeStore, database: str, tmp_path: Path
) -> None:
    ours, fresh = make_store(database), make_store(database)
    root = dataset(tmp_path, 3)
    take(ours, root)
    take(fresh, root, background_percentile=0.5)
    as_before(ours, "entropy", "brenner")
    assert remeasure(ours, 0.5).remeasured == 3
    has = MeasurementSettings(0.5, without("brenner"))
    assert settings_of(ours) == dict.fromkeys((A, B, C), has)
    assert plan(ours, root).stale == ()
    assert set(why(ours, root)) == {A, B, C}
    as_before(fresh, "brenner")
    remeasure(fresh, 0.5)
    assert list(dump(ours)) == list(dump(fresh))
    take(ours, root)
    assert settings_of(ours) == dict.fromkeys((A, B, C), MeasurementSettings(0.5, VERSIONS))
    assert doctor(ours, deep=True) == []


def test_values_of_an_older_formula_stay_with_cells_overrides_and_clean_sets(
    make_store: MakeStore, database: str, tmp_path: Path, newer: Program
) -> None:
    store, fresh = make_store(database), make_store(database)
    root = dataset(tmp_path, 3)
    take(store, root)
    create_clean_set(store, "mine", CleanRecipe(min_green=0))
    with store.writing() as connection:
        write_overrides(connection, [Decision(A, 1, None, False, None, None, None)], NOW)
    kept = ("id", "green_brenner")
    before = {name: column(store, name) for name in kept}
    verdicts = rows(store, "SELECT * FROM clean_set_cell ORDER BY cell_id, label_id")
    newer(entropy=2, brenner=2)
    assert remeasure(store, 0.5).remeasured == 3
    assert {name: column(store, name) for name in kept} == before
    assert rows(store, "SELECT * FROM clean_set_cell ORDER BY cell_id, label_id") == verdicts
    assert scalar(store, "SELECT count(*) FROM cell_override WHERE cell_id IS NOT NULL") == 1
    has = MeasurementSettings(0.5, {**VERSIONS, "entropy": 2})
    assert settings_of(store) == dict.fromkeys((A, B, C), has)
    assert doctor(store, deep=True) == []

    take(store, root)
    take(fresh, root, background_percentile=0.5)
    assert column(store, "green_brenner") == column(fresh, "green_brenner")
    assert column(store, "green_brenner") == [v and 2 * v for v in before["green_brenner"]]
    assert scalar(store, "SELECT count(*) FROM cell_override WHERE cell_id IS NOT NULL") == 1


def test_other_levels_stay_until_the_next_ingest(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    fresh = list(dump(store))
    as_before(store, levels="p99.9")
    assert set(why(store, root)) == {A, B, C}
    remeasure(store, 0.5)
    has = MeasurementSettings(0.5, VERSIONS, "p99.9")
    assert settings_of(store) == dict.fromkeys((A, B, C), has)
    assert hpastore.status(store).unmeasured == 3
    assert take(store, root, background_percentile=0.99).changed == 3
    assert list(dump(store)) == fresh


# Settings


def test_images_of_several_programs_are_brought_together_and_equal_settings_are_one_row(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    fresh = list(dump(store))
    as_before(store, "brenner", images=[C])
    as_before(store, "entropy", "brenner", images=[B])
    as_before(store, "entropy", "saturated", images=[A])
    assert remeasure(store).remeasured == 2
    assert settings_of(store) == {
        A: MeasurementSettings(0.99, VERSIONS),
        B: MeasurementSettings(0.99, without("brenner")),
        C: MeasurementSettings(0.99, without("brenner")),
    }
    assert scalar(store, "SELECT count(DISTINCT settings_id) FROM image") == 2
    written = scalar(store, "SELECT count(*) FROM measurement_settings")
    for share in (0.5, 0.99, 0.5, 0.99):
        remeasure(store, share)
    assert scalar(store, "SELECT count(*) FROM measurement_settings") == written + 2
    assert scalar(store, "SELECT count(*) FROM measurement_settings WHERE current") == 1
    assert take(store, root).changed == 2
    assert list(dump(store)) == fresh
    assert doctor(store, deep=True) == []


@pytest.mark.parametrize("place", ["image.remeasured", "image.measures_replaced"])
def test_a_batch_that_fails_leaves_no_trace(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    take(store, dataset(tmp_path, 3))
    fresh = list(dump(store))
    as_before(store, "entropy")
    older = list(dump(store))
    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "reached", type(failpoints.reached)())
        patch.setenv(failpoints.VARIABLE, f"{place}:1:raise")
        with pytest.raises(Exception, match=place):
            remeasure(store)
    assert list(dump(store)) == older
    assert doctor(store, deep=True) == []
    remeasure(store)
    assert list(dump(store)) == fresh


def test_a_program_ends_when_another_one_has_adopted_its_own_versions(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 1)
    take(store, dataset(tmp_path, 3))
    as_before(store, "entropy")
    other = MeasurementSettings(0.5, {**VERSIONS, "entropy": 9})

    def meanwhile(done: int, total: int) -> None:
        def adopt(connection: Connection) -> None:
            write.adopt_settings(connection, other)

        assert (done, total) == (1, 3)
        store.write(adopt)

    assert remeasure(store, progress=meanwhile).remeasured == 1
    current = scalar(store, "SELECT background_percentile FROM measurement_settings WHERE current")
    assert current == 0.5
    assert doctor(store, deep=True) == []


# What users are told


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("entropy", "run 'hpastore remeasure'"), ("brenner", "ingest their roots again")],
)
def test_who_uses_a_measure_that_images_lack_is_warned(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, remedy: str
) -> None:
    take(store, dataset(tmp_path, 3))
    as_before(store, name, images=[A, C])
    warning = f"2 images have no {name} of version 1; {remedy}"
    rule = Rule(measure=name, channel="green")
    hpastore.thresholds(store, rule)
    assert caplog.messages == [warning]
    caplog.clear()
    hpastore.thresholds(store)
    assert caplog.messages == []
    create_clean_set(store, "mine", CleanRecipe(min_green=0, rules=(rule,)))
    assert warning in caplog.messages
    lacking = {row["name"]: row["lacking"] for row in measures(store).to_dict("records")}
    assert {key: count for key, count in lacking.items() if count} == {name: 2}
    assert remeasure(store).remeasured == (2 if name == "entropy" else 0)


def test_images_that_are_gone_are_not_unmeasured(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    as_before(store, "brenner")
    hpastore.forget(store, root)
    assert hpastore.status(store).unmeasured == 0
