from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from hpastore.cli import app


@dataclass(frozen=True)
class Outcome:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Run(Protocol):
    def __call__(self, *arguments: object, db: str | None = None) -> Outcome: ...


@pytest.fixture
def run(
    empty_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Run]:
    """Run a command in this process, on a database without tables unless another is named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("HPASTORE_DB", empty_url)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: object, db: str | None = None) -> Outcome:
        shared = [] if db is None else ["--db", db]
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            app.main([*shared, *map(str, arguments)])
        said = capsys.readouterr()
        return Outcome(int(caught.value.code or 0), said.out, said.err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
