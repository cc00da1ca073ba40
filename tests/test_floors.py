"""A module imports from its own floor or below; databases stay above the ground; only ``cli`` prints."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hpastore

PACKAGE = Path(hpastore.__file__).parent

UNDER_ALL = {"collector", "errors", "failpoints", "model", "opencv"}
FLOORS = {
    **dict.fromkeys(UNDER_ALL, 0),
    "kernels": 1,
    "reading": 1,
    "schema": 2,
    "store": 3,
    "ingest": 4,
    "clean": 5,
    "export": 6,
    "plot": 6,
    "cli": 7,
}
DATABASES = {"sqlalchemy", "alembic", "sqlite3", "psycopg"}
DOOR = {"__init__", "__main__"}
"""Above all floors."""


def floor_of(module: str) -> str:
    """The part of ``hpastore.kernels.measure`` that names its floor: kernels."""
    return module.split(".")[1]


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Full names of all modules that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield module
            if module == "hpastore":
                yield from (f"hpastore.{alias.name}" for alias in node.names)


def faults(source: str, module: str) -> list[str]:
    """What a module of the package must not do."""
    floor, tree = floor_of(module), ast.parse(source)
    found = []
    for name in imports(tree, module.rpartition(".")[0]):
        top = name.split(".")[0]
        if top == "hpastore" and name != "hpastore" and not may_import(floor, floor_of(name)):
            found.append(f"{module} imports {name}")
        if top in DATABASES and floor in ("kernels", "reading", *UNDER_ALL):
            found.append(f"{module} imports {name}")
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    if floor != "cli" and any(isinstance(called, ast.Name) and called.id == "print" for called in calls):
        found.append(f"{module} prints")
    return found


def may_import(floor: str, other: str) -> bool:
    if other not in FLOORS:
        return other.startswith("_") and other not in DOOR  # hpastore.__version__
    if floor in ("kernels", "reading"):
        return other in (floor, *UNDER_ALL)
    if FLOORS[floor] == FLOORS[other]:
        return floor == other or floor in UNDER_ALL
    return FLOORS[other] < FLOORS[floor]


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[1] not in DOOR and parts[1] != "migrations":
            yield ".".join(parts), path


@pytest.mark.parametrize(("module", "path"), [*modules()], ids=lambda v: v if isinstance(v, str) else "")
def test_a_module_imports_downwards_only(module: str, path: Path) -> None:
    assert floor_of(module) in FLOORS, f"{module} lies on no floor"
    assert faults(path.read_text(), module) == []


def test_all_floors_are_looked_at() -> None:
    assert {floor_of(module) for module, _ in modules()} >= set(FLOORS) - {"plot"}


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from hpastore.store.engine import Store", "hpastore.schema.views"),
        ("import hpastore.cli.app", "hpastore.export.coco"),
        ("from hpastore import clean", "hpastore.ingest.run"),
        ("from ..ingest import run", "hpastore.store.read"),
        ("from .. import cli", "hpastore.store.read"),
        ("def f():\n    from hpastore.clean.select import thresholds", "hpastore.store.read"),
        ("from hpastore.reading.png import decode_gray", "hpastore.kernels.measure"),
        ("from hpastore.kernels.rle import decode", "hpastore.reading.mask"),
        ("from hpastore.plot import hist", "hpastore.export.coco"),
        ("from hpastore.kernels.measures import VERSION", "hpastore.model"),
        ("from hpastore.nowhere import anything", "hpastore.cli.app"),
        ("import sqlalchemy as sa", "hpastore.kernels.measure"),
        ("from alembic import op", "hpastore.reading.png"),
        ("import sqlite3", "hpastore.kernels.measure"),
        ("print(1)", "hpastore.store.read"),
        ("def f():\n    return print(1)", "hpastore.kernels.measure"),
    ],
)
def test_what_is_not_allowed_is_caught(source: str, module: str) -> None:
    assert len(faults(source, module)) == 1


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from hpastore.errors import UsageError\nimport numpy", "hpastore.kernels.measure"),
        ("from hpastore.errors import UsageError", "hpastore.model"),
        ("from .engine import Store\nfrom ..schema import tables", "hpastore.store.read"),
        ("import hpastore\nfrom hpastore import __version__", "hpastore.ingest.run"),
        ("import sqlalchemy", "hpastore.schema.tables"),
        ("print(1)", "hpastore.cli.app"),
        ('"""print(1)"""', "hpastore.store.read"),
    ],
)
def test_what_is_allowed_is_not(source: str, module: str) -> None:
    assert faults(source, module) == []
