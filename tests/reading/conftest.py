from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("HPASTORE_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real files, for a developer's machine."""
    if not DATA.is_dir():
        pytest.skip(f"no real files in {DATA}; set HPASTORE_DATA")
    return DATA
