"""Column types that PostgreSQL and STRICT tables of SQLite call the same thing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Double,
    Integer,
    LargeBinary,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeEngine

from hpastore.errors import DamagedError
from hpastore.text import printable

# Bytewise order, so that both databases sort alike.
TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
BIGINT = BigInteger().with_variant(Integer(), "sqlite")
REAL: Final[TypeEngine[float]] = Double().with_variant(sqlite.REAL(), "sqlite")
BLOB = LargeBinary()


class Flag(TypeDecorator[bool]):
    """A truth value: BOOLEAN on PostgreSQL, INTEGER 0 or 1 on SQLite; usable as a condition."""

    impl = Boolean
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else Boolean())

    def process_bind_param(self, value: bool | None, dialect: Dialect) -> Any:
        """Send an integer to SQLite: STRICT tables know no truth values."""
        return value if value is None or dialect.name != "sqlite" else int(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> bool | None:  # noqa: ARG002 the signature is SQLAlchemy's
        """Give back a truth value."""
        return None if value is None else bool(value)


class Instant(TypeDecorator[datetime]):
    """A moment in UTC: TIMESTAMPTZ on PostgreSQL, ISO 8601 text on SQLite."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type."""
        return dialect.type_descriptor(
            Text() if dialect.name == "sqlite" else DateTime(timezone=True)
        )

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Send text to SQLite; always to the microsecond, so that texts sort as moments."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 the signature is SQLAlchemy's
        """Give back a moment in UTC."""
        return as_moment(value)


def as_moment(value: datetime | str | None) -> datetime | None:
    """Read a stored moment, in UTC.

    Raises
    ------
    DamagedError
        If a text is no moment; which row it is in, `hpastore.store.engine.Store` finds out.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return None if moment is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise DamagedError("", f"{printable(str(value))!r} is no date and time") from error


Key = Annotated[
    int,
    mapped_column(
        BIGINT, primary_key=True, comment="Key, counted up by the database", info={"dump": False}
    ),
]
"""A surrogate key."""
