from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.conftest import Server
from tests.crash.harness import Runner, Template, today, yesterday

MakeTemplate = Callable[[Callable[[str], object]], Template]
"""Give a template from a function that fills the database of a URL."""


@pytest.fixture(scope="session")
def run() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.close()


@pytest.fixture
def template(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[MakeTemplate]:
    """Make databases to copy, of the kind that the test runs on."""
    numbers = count()
    with ExitStack() as stack:

        def make(fill: Callable[[str], object]) -> Template:
            if database == "sqlite":
                url = f"sqlite:///{tmp_path / f'template-{next(numbers)}.db'}"
                fill(url)
                return Template(None, url, tmp_path)
            server: Server = request.getfixturevalue("server")
            url = stack.enter_context(server.database())
            fill(url)
            assert make_url(url).database
            return Template(server, url, tmp_path)

        yield make


@pytest.fixture
def changed(template: MakeTemplate, tmp_path: Path) -> tuple[Template, Path]:
    """A store of yesterday, and the inputs of today."""
    root = tmp_path / "data"
    made = template(lambda url: yesterday(root, url))
    today(root)
    return made, root
