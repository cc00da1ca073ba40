"""Tables of the pages that say what the code says: measures, columns, commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import typer

from hpastore.clean.diff import CAUSES
from hpastore.cli import app
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.schema.tables import Base
from hpastore.schema.views import VIEWS
from hpastore.vocabulary import CHANNELS, FAILURE_CODES, LABEL_NAMES, NOTE_CODES

_PLACE: Final = re.compile(
    r"(<!-- scripts/docs writes: (?P<name>[\w ]+) -->\n).*?(<!-- end -->)", re.S
)


def with_tables(page: str) -> str:
    """Write a page's tables again, between the lines that mark their places.

    Raises
    ------
    KeyError
        If a mark names a table that there is none of.
    """
    return _PLACE.sub(lambda place: f"{place[1]}\n{TABLES[place['name']]()}\n{place[3]}", page)


def commands() -> Iterator[tuple[str, Any]]:
    """Give every command and its full name; a group too, if it does something by itself."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None or command.invoke_without_command:
            yield name, command
        for key, value in (inner or {}).items():
            yield from walk(f"{name} {key}", value)

    yield from walk("hpastore", typer.main.get_command(app.app))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )


def _measures(measures: Iterable[Any]) -> str:
    rows = [(f"`{m.name}`", m.unit, m.sentence, m.source) for m in measures]
    return _table(("measure", "unit", "what it is", "source"), rows)


def _codes(head: str, codes: Mapping[str, str]) -> str:
    return _table((head, "meaning"), [(f"`{code}`", text) for code, text in codes.items()])


def _labels() -> str:
    return _table(("id", "label"), [(str(number), name) for number, name in enumerate(LABEL_NAMES)])


def _commands() -> str:
    rows = []
    for name, command in commands():
        given = " ".join(_argument(p) for p in command.params if p.param_type_name == "argument")
        summary = " ".join(command.help.split("\n\n")[0].split())
        rows.append((f"`{f'{name} {given}'.strip()}`", summary))
    return _table(("command", "what it does"), rows)


def _argument(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name.upper())
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _tables() -> str:
    return "\n".join(_columns(table) for table in Base.metadata.sorted_tables)


def _columns(table: Any) -> str:
    columns = [column.name for column in table.columns]
    rows = {
        f"`{_without_channel(column.name, columns)}`": column.comment or "Number of the row"
        for column in table.columns
    }
    shown = _table(("column", "what it is"), rows.items())
    return f"### `{table.name}`\n\n{table.comment}.\n\n{shown}"


def _views() -> str:
    rows = []
    for view in VIEWS:
        columns = [column.name for column in view.table.columns]
        names = dict.fromkeys(_without_channel(name, columns) for name in columns)
        rows.append((f"`{view.table.name}`", ", ".join(f"`{name}`" for name in names)))
    return _table(("view", "columns"), rows)


def _without_channel(name: str, names: Sequence[str]) -> str:
    """Name a column that there is for every channel once: ``CHANNEL_fraction``."""
    measure = name.partition("_")[2]
    of_all = {f"{channel}_{measure}" for channel in CHANNELS}
    return f"CHANNEL_{measure}" if name in of_all <= set(names) else name


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "shape measures": lambda: _measures(SHAPE_MEASURES),
    "channel measures": lambda: _measures(CHANNEL_MEASURES),
    "labels": _labels,
    "notes": lambda: _codes("note", NOTE_CODES),
    "failures": lambda: _codes("code", FAILURE_CODES),
    "causes": lambda: _codes("cause", CAUSES),
    "commands": _commands,
    "tables": _tables,
    "views": _views,
}
"""What each mark in a page is replaced with."""
