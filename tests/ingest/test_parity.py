from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.clean.select import create_clean_set, thresholds
from hpastore.ingest.discover import Layout
from hpastore.ingest.run import ingest
from hpastore.schema.tables import Base
from hpastore.schema.views import VIEWS
from hpastore.store.engine import Store
from tests.conftest import DATABASES, MakeStore
from tests.world import TIMES, dataset, draw_mask, dump, exact, name_of, replaced, write_image

LABELS = ("0", "0", "18", "0|5", "13|13", "5", "", "8|5|0")


def live(store: Store, root: Path) -> None:
    """A store's life: images of all kinds, one without a background, one empty, a change, clean sets."""
    ingest(store, Layout(root, split="train"), executor="serial")
    create_clean_set(store, "notebook")
    create_clean_set(store, "all", CleanRecipe((Rule("intensity_mean", "red", 0.1, 0.9),), 0, "all"))
    create_clean_set(store, "shape", CleanRecipe((Rule("nucleus_area", None, 0.25, 1.0),)))
    with replaced(root / "train" / f"{name_of(1)}_red.png") as path:
        path.write_bytes(b"broken")
    ingest(store, root, executor="serial")
    create_clean_set(store, "notebook", CleanRecipe((Rule(lower=1 / 3, upper=2 / 3),)))


def world(root: Path) -> Path:
    dataset(root, 12, labels=LABELS, nuclei=True)
    write_image(root, name_of(2), seed=20, mask=draw_mask(0), nuclei=True)
    write_image(root, name_of(4), seed=21, mask=np.full((24, 32), 2**32 - 1, np.uint32))
    return root


def test_both_databases_hold_and_answer_the_same(make_store: MakeStore, tmp_path: Path) -> None:
    drawn, root = world(tmp_path / "drawn"), tmp_path / "data"
    stores = [make_store(kind) for kind in DATABASES]
    for store in stores:
        shutil.copytree(drawn, root)  # with the files' times
        live(store, root)
        shutil.rmtree(root)
    dumps = [dump(store, without=TIMES) for store in stores]
    assert dumps[0].keys() == {t.name for t in Base.metadata.sorted_tables} | {v.table.name for v in VIEWS}
    for name, found in dumps[0].items():
        assert found, name
        assert found == dumps[1][name], name
    asked = [Rule(), Rule("brenner", "blue", 0.2, 0.7), Rule("area", None, 0.0, 0.5)]
    answers = [[thresholds(store, rule).map(exact).to_dict("list") for rule in asked] for store in stores]
    assert answers[0] == answers[1]
