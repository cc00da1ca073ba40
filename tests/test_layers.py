"""A module imports from its own layer or below; only ``schema`` and above know SQL; only ``cli`` prints."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hpastore

PACKAGE = Path(hpastore.__file__).parent

UNDER_ALL = {"_version", "arguments", "classes", "errors", "model", "runtime", "text", "vocabulary"}
LAYERS = {
    **dict.fromkeys(UNDER_ALL, 0),
    "kernels": 1,
    "reading": 1,
    "synthetic": 1,
    "schema": 2,
    "store": 3,
    "ingestion": 4,
    "render": 4,
    "clean": 5,
    "export": 6,
    "plot": 6,
    "cli": 7,
}
DATABASES = {"sqlalchemy", "alembic", "sqlite3", "psycopg"}
ENTRY_POINTS = {"__init__", "__main__"}
"""Above all layers."""


def layer_of(module: str) -> str:
    """The part of ``hpastore.kernels.image`` that names its layer: kernels."""
    return module.split(".")[1]


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Full names of all modules that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            )
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield module
            if module == "hpastore":
                yield from (f"hpastore.{alias.name}" for alias in node.names)


def faults(source: str, module: str) -> list[str]:
    """What a module of the package must not do."""
    layer, tree = layer_of(module), ast.parse(source)
    found = []
    for name in imports(tree, module.rpartition(".")[0]):
        top = name.split(".")[0]
        if top == "hpastore" and name != "hpastore" and not may_import(layer, layer_of(name)):
            found.append(f"{module} imports {name}")
        if top in DATABASES and layer in ("kernels", "reading", "synthetic", *UNDER_ALL):
            found.append(f"{module} imports {name}")
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    if layer != "cli" and any(
        isinstance(called, ast.Name) and called.id == "print" for called in calls
    ):
        found.append(f"{module} prints")
    return found


def may_import(layer: str, other: str) -> bool:
    if other not in LAYERS:
        return other.startswith("_") and other not in ENTRY_POINTS  # hpastore.__version__
    if layer in ("kernels", "reading", "synthetic"):
        return other in (layer, *UNDER_ALL)
    if LAYERS[layer] == LAYERS[other]:
        return layer == other or layer in UNDER_ALL
    return LAYERS[other] < LAYERS[layer]


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[1] not in ENTRY_POINTS and parts[1] != "migrations":
            yield ".".join(parts), path


@pytest.mark.parametrize(
    ("module", "path"), [*modules()], ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_module_imports_downwards_only(module: str, path: Path) -> None:
    assert layer_of(module) in LAYERS, f"{module} is in no layer"
    assert faults(path.read_text(), module) == []


def test_all_layers_are_looked_at() -> None:
    assert {layer_of(module) for module, _ in modules()} >= set(LAYERS) - {"plot"}


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from hpastore.store.engine import Store", "hpastore.schema.views"),
        ("import hpastore.cli.app", "hpastore.export.coco"),
        ("from hpastore import clean", "hpastore.ingestion.run"),
        ("from ..ingestion import run", "hpastore.store.images"),
        ("from .. import cli", "hpastore.store.images"),
        ("def f():\n    from hpastore.clean.sets import thresholds", "hpastore.store.images"),
        ("from hpastore.reading.png import decode_gray", "hpastore.kernels.image"),
        ("from hpastore.kernels.rle import decode", "hpastore.reading.mask"),
        ("from hpastore.plot import hist", "hpastore.export.coco"),
        ("from hpastore.kernels.definitions import VERSIONS", "hpastore.model"),
        ("from hpastore.nowhere import anything", "hpastore.cli.app"),
        ("import sqlalchemy as sa", "hpastore.kernels.image"),
        ("from alembic import op", "hpastore.reading.png"),
        ("import sqlite3", "hpastore.kernels.image"),
        ("print(1)", "hpastore.store.images"),
        ("def f():\n    return print(1)", "hpastore.kernels.image"),
    ],
)
def test_what_is_not_allowed_is_caught(source: str, module: str) -> None:
    assert len(faults(source, module)) == 1


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from hpastore.errors import UsageError\nimport numpy", "hpastore.kernels.image"),
        ("from hpastore.errors import UsageError", "hpastore.model"),
        ("from .engine import Store\nfrom ..schema import tables", "hpastore.store.images"),
        ("import hpastore\nfrom hpastore import __version__", "hpastore.ingestion.run"),
        ("import sqlalchemy", "hpastore.schema.tables"),
        ("print(1)", "hpastore.cli.app"),
        ('"""print(1)"""', "hpastore.store.images"),
    ],
)
def test_what_is_allowed_is_not(source: str, module: str) -> None:
    assert faults(source, module) == []
