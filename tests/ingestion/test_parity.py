from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpastore.clean.create import create_clean_set
from hpastore.clean.overrides import Override, override_cells
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.clean.thresholds import thresholds
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.run import ingest
from hpastore.schema.tables import Base
from hpastore.schema.views import VIEWS
from hpastore.store import write
from hpastore.store.engine import Store
from tests.conftest import DATABASES, MakeStore
from tests.world import (
    NOW,
    SHIFT,
    SPREAD,
    TIMES,
    dataset,
    draw_mask,
    dump,
    exact,
    install,
    name_of,
    replaced,
    write_image,
)

LABELS = ("0", "0", "18", "0|5", "13|13", "5", "", "8|5|0")


def live(store: Store, root: Path, patch: pytest.MonkeyPatch) -> None:
    """A store's life: images of all kinds, a change, measures that come, clean sets, a decision."""
    install(patch, SPREAD)
    layout = Layout(root, split="train", keep_columns=["note"])
    ingest(store, layout, executor="serial")
    override_cells(
        store, [Override(f"{name_of(0)}:1", True), Override(f"{name_of(1)}:1", False, 0, 0.5)]
    )
    create_clean_set(store, "notebook")
    create_clean_set(
        store, "all", CleanRecipe((Rule("intensity_mean", "red", 0.1, 0.9),), 0, "all")
    )
    create_clean_set(store, "shape", CleanRecipe((Rule("nucleus_area", None, 0.25, 1.0),)))
    create_clean_set(store, "own", CleanRecipe((Rule("spread", "green", 0.25, 0.75),)))
    with replaced(root / "train" / f"{name_of(1)}_red.png") as path:
        path.write_bytes(b"broken")
    write_image(root, name_of(0), seed=30, nuclei=True)
    install(patch, replace(SPREAD, version=2), SHIFT)
    ingest(store, root, executor="serial")
    with store.writing() as connection:
        write.label_cells(connection, name_of(3), {1: (0, 16), 3: (7,)}, NOW)
    create_clean_set(store, "notebook", CleanRecipe((Rule(lower=1 / 3, upper=2 / 3),)))


def world(root: Path) -> Path:
    dataset(root, 12, labels=LABELS, nuclei=True)
    table = root / "train.csv"
    head, *lines = table.read_text().splitlines()
    noted = (f'{line},"é ""{i % 3}"""' for i, line in enumerate(lines))
    table.write_text("\n".join([f"{head},note", *noted, ""]))
    write_image(root, name_of(2), seed=20, mask=draw_mask(0), nuclei=True)
    write_image(root, name_of(4), seed=21, mask=np.full((24, 32), 2**32 - 1, np.uint32))
    return root


def test_both_databases_hold_and_answer_the_same(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, root = world(tmp_path / "drawn"), tmp_path / "data"
    stores = [make_store(kind) for kind in DATABASES]
    for store in stores:
        shutil.copytree(drawn, root)  # with the files' times
        live(store, root, monkeypatch)
        shutil.rmtree(root)
    dumps = [dump(store, without=TIMES) for store in stores]
    assert dumps[0].keys() == {t.name for t in Base.metadata.sorted_tables} | {
        v.table.name for v in VIEWS
    }
    for name, found in dumps[0].items():
        assert found, name
        assert found == dumps[1][name], name
    asked = [
        Rule("spread", "red", 0.1, 0.6),
        Rule("shift", None, 0.3, 0.9),
        Rule(),
        Rule("brenner", "blue", 0.2, 0.7),
        Rule("area", None, 0.0, 0.5),
    ]
    answers = [
        [thresholds(store, rule).map(exact).to_dict("list") for rule in asked] for store in stores
    ]
    assert answers[0] == answers[1]
