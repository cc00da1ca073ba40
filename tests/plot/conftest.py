from __future__ import annotations

from pathlib import Path

import pytest

import hpastore
from hpastore.store.engine import Store
from tests.world import dataset, is_a_file

one_database = is_a_file
"""For what is drawn of rows, once they are read."""

RECIPE = hpastore.CleanRecipe((hpastore.Rule(lower=0.25, upper=0.75),), min_green=0)
"""Of three cells it keeps the one in the middle."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dataset(tmp_path / "data", 5)


@pytest.fixture
def filled(store: Store, root: Path) -> Store:
    """Five images on disk, twelve cells, and the clean set mine@1."""
    hpastore.ingest(store, root, executor="serial")
    hpastore.create_clean_set(store, "mine", RECIPE)
    return store
