"""Rows at once, as a stream, or in batches."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from hpastore.schema.tables import Label
from hpastore.store import statements
from hpastore.store.engine import Store
from hpastore.store.statements import batches, rows, stream


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_stream_gives_the_rows_that_all_at_once_are(store: Store, size: int) -> None:
    statement = select(Label.id, Label.name).order_by(Label.id)
    with store.reading() as connection:
        at_once = [(row["id"], row["name"]) for row in rows(connection, statement)]
        streamed = [tuple(row) for row in stream(connection, statement, size)]
    assert streamed == at_once
    assert len(at_once) == 19


def test_a_stream_that_is_closed_leaves_its_connection_usable(store: Store) -> None:
    statement = select(Label.id).order_by(Label.id)
    with store.reading() as connection:
        streamed = stream(connection, statement, 2)
        assert next(streamed)[0] == 0
        streamed.close()
        assert len(rows(connection, statement)) == 19


def test_batches_hold_all_names_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_MAX_NAMES", 3)
    assert list(batches("abcdefg")) == ["abc", "def", "g"]
    assert list(batches([])) == []
