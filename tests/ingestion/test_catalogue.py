from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpastore.ingestion.catalogue import measures
from hpastore.ingestion.run import ingest
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.store.engine import Store
from tests.world import SHIFT, SPREAD, dataset, install


def test_every_measure_is_listed_those_of_users_with_what_the_store_has(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, SPREAD, SHIFT)
    ingest(store, dataset(tmp_path, 3), executor="serial")
    other = replace(SHIFT, name="also", source="Me 2024", sentence="Again")
    install(monkeypatch, replace(SHIFT, version=4), other)
    found = measures(store).to_dict("records")
    ours, theirs = found[:-3], found[-3:]
    assert [row["name"] for row in ours] == [m.name for m in (*SHAPE_MEASURES, *CHANNEL_MEASURES)]
    columns = ("kind", "version", "installed", "images", "lacking")
    assert {tuple(row[name] for name in columns) for row in ours} == {
        ("built-in", 1, None, None, 0)
    }
    by_name = {row["name"]: row for row in ours}
    assert (by_name["area"]["channels"], by_name["area"]["unit"]) == ("", "px²")
    assert by_name["brenner"]["channels"] == "green, blue"
    assert [tuple(row.values()) for row in theirs] == [
        ("also", "", "grey level", "crops", "Again", "Me 2024", 1, True, 0, None, None),
        ("shift", "", "grey level", "crops", "Green above red", "", 4, True, 0, None, 0),
        ("spread", "green, red", "grey level", "histogram", "Range", "", 1, False, 3, None, 0),
    ]
    install(monkeypatch, SPREAD)
    shift, spread = measures(store).to_dict("records")[-2:]
    assert (shift["installed"], shift["images"]) == (False, 3)
    assert (spread["channels"], spread["installed"], spread["images"]) == ("red, green", True, 3)
