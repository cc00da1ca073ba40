from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.conftest import Server
from tests.crash.harness import Runner, Template

MakeTemplate = Callable[[Callable[[str], None]], Template]
"""Give a template from a function that fills the database of a URL."""


@pytest.fixture(scope="session")
def run() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.close()


@pytest.fixture
def template(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeTemplate]:
    """Make databases to copy, of the kind that the test runs on."""
    with ExitStack() as stack:

        def make(fill: Callable[[str], None]) -> Template:
            if database == "sqlite":
                url = f"sqlite:///{tmp_path / 'template.db'}"
                fill(url)
                return Template(None, url, tmp_path)
            server: Server = request.getfixturevalue("server")
            url = stack.enter_context(server.database())
            fill(url)
            assert make_url(url).database
            return Template(server, url, tmp_path)

        yield make
