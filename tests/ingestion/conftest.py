from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpastore.ingestion import worker
from hpastore.reading.image import decode


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that were decoded, or tried."""
    names: list[str] = []

    def noted(source: Any, root: Path) -> Any:
        names.append(source.name)
        return decode(source, root)

    monkeypatch.setattr(worker, "decode", noted)
    return names
