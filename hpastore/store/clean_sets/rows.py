"""Find clean sets, and read their rows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, or_, select

from hpastore.classes import Classes
from hpastore.errors import DamagedError, NotFoundError, UsageError
from hpastore.schema.clean_rows import BoundRow, CleanSetRow, RuleBound, RuleRow
from hpastore.schema.tables import CleanRule, CleanSet, CleanSetCell, CleanSetThreshold
from hpastore.store import decoding

_MAX_VERSION_DIGITS: Final = 9

_CLEAN_SET: Final = tuple(CleanSet.__table__.c[name] for name in CleanSetRow._fields)

_RULE: Final = (
    *(CleanRule.id, CleanRule.clean_set_id, CleanRule.position, CleanRule.label_id),
    *(CleanRule.grouped_by, CleanRule.group_value),
    *(CleanRule.measure, CleanRule.channel, CleanRule.reason, CleanRule.condition, CleanRule.shown),
    *(CleanRule.lower_percentile, CleanRule.lower_value),
    *(CleanRule.lower_median, CleanRule.lower_image_median),
    *(CleanRule.upper_percentile, CleanRule.upper_value),
    *(CleanRule.upper_median, CleanRule.upper_image_median),
)

_Key = TypeVar("_Key", bound=Hashable)
_Bound = TypeVar("_Bound")


class FoundSet(NamedTuple):
    """A clean set as it was found by its name."""

    id: int
    name: str
    version: int

    @property
    def versioned_name(self) -> str:
        """``NAME@VERSION``."""
        return f"{self.name}@{self.version}"


def find_clean_set(connection: Connection, name: str, split: str | None = None) -> FoundSet:
    """Find a clean set by ``NAME``, its newest version, or ``NAME@VERSION``.

    Parameters
    ----------
    connection
    name
    split
        A split that the set must have judged.

    Raises
    ------
    NotFoundError
        If there is none of this name and version.
    UsageError
        If it is limited to another split.
    """
    stem, at, version = name.partition("@")
    statement = select(CleanSet.id, CleanSet.name, CleanSet.version, CleanSet.split)
    statement = statement.where(CleanSet.name == stem)
    if at:
        if not (version.isdecimal() and len(version) <= _MAX_VERSION_DIGITS):
            raise UsageError(f"invalid version in {name!r}; use a number, as in {stem}@1")
        statement = statement.where(CleanSet.version == int(version))

    newest = statement.order_by(CleanSet.version.desc()).limit(1)
    found = connection.execute(newest).one_or_none()
    if found is None:
        raise NotFoundError(f"no clean set {name}; 'hpastore clean list' lists all clean sets")
    if split is not None and found.split not in (None, split):
        raise UsageError(
            f"clean set {found.name}@{found.version} is limited to split {found.split!r} and has "
            f"no cells of split {split!r}; create one with 'hpastore clean create NAME --split "
            f"{split}'"
        )
    return FoundSet(found.id, found.name, found.version)


def find_clean_set_or_newest(
    connection: Connection, name: str | None, split: str | None = None
) -> FoundSet | None:
    """Find a clean set by name; without a name the newest of all sets, or None.

    Parameters
    ----------
    connection
    name
    split
        A split that the set must have judged.

    Raises
    ------
    NotFoundError
        If there is none of this name.
    UsageError
        If the one of this name is limited to another split.
    """
    if name is not None:
        return find_clean_set(connection, name, split)

    newest = select(CleanSet.id, CleanSet.name, CleanSet.version).order_by(CleanSet.id.desc())
    if split is not None:
        newest = newest.where(or_(CleanSet.split.is_(None), CleanSet.split == split))
    row = connection.execute(newest.limit(1)).one_or_none()
    return None if row is None else FoundSet(*row)


def newest_name(connection: Connection) -> str | None:
    """Read the name of the clean set that was created last; None without one."""
    return connection.execute(select(CleanSet.name).order_by(CleanSet.id.desc()).limit(1)).scalar()


def clean_set_names(connection: Connection) -> list[str]:
    """Read the names of all clean sets, each once."""
    return list(connection.scalars(select(CleanSet.name).distinct().order_by(CleanSet.name)))


def read_clean_set(connection: Connection, set_id: int) -> CleanSetRow:
    """Read the row of a clean set."""
    return CleanSetRow(*connection.execute(select(*_CLEAN_SET).where(CleanSet.id == set_id)).one())


def read_versions(connection: Connection, name: str) -> list[CleanSetRow]:
    """Read the rows of all versions of a clean set, oldest first."""
    statement = select(*_CLEAN_SET).where(CleanSet.name == name).order_by(CleanSet.version)
    return [CleanSetRow(*row) for row in connection.execute(statement)]


def read_rules(connection: Connection, set_id: int, classes: Classes) -> list[RuleRow]:
    """Read a clean set's rules in their order."""
    statement = select(*_RULE).where(CleanRule.clean_set_id == set_id)
    statement = statement.order_by(CleanRule.position, CleanRule.label_id, CleanRule.id)
    return [_rule_row(row, classes) for row in connection.execute(statement)]


def _rule_row(row: Any, classes: Classes) -> RuleRow:
    return RuleRow(
        id=row.id,
        clean_set_id=row.clean_set_id,
        position=row.position,
        label_id=row.label_id,
        labels=classes.ids if row.label_id is None else (row.label_id,),
        grouped_by=row.grouped_by,
        group_value=row.group_value,
        measure=row.measure,
        channel=row.channel,
        lower=RuleBound(
            *(row.lower_percentile, row.lower_value, row.lower_median, row.lower_image_median)
        ),
        upper=RuleBound(
            *(row.upper_percentile, row.upper_value, row.upper_median, row.upper_image_median)
        ),
        reason=row.reason,
        condition=row.condition,
        shown=row.shown,
    )


def read_bounds(connection: Connection, set_id: int, classes: Classes) -> list[BoundRow]:
    """Read the bounds that a clean set was materialised with.

    Raises
    ------
    DamagedError
        If one is of a rule of another set, or of an invalid label.
    """
    kept = CleanSetThreshold
    columns = (kept.rule_id, kept.label_id, kept.n, kept.lower, kept.upper, kept.stand_in)
    statement = select(*columns)
    found = connection.execute(statement.where(kept.clean_set_id == set_id))
    bounds = [BoundRow(*row) for row in found]

    of_set = select(CleanRule.id).where(CleanRule.clean_set_id == set_id)
    rules = set(connection.execute(of_set).scalars())
    title = clean_set_title(connection, set_id)
    for bound in bounds:
        if bound.rule_id not in rules:
            what = f"its threshold of label {bound.label_id} belongs to no rule of the set"
            raise DamagedError(title, what)
        decoding.label_name(bound.label_id, title, classes)
    return bounds


def find_bound(bounds: Mapping[_Key, _Bound], key: _Key, where: str) -> _Bound:
    """Find a bound of a clean set by its key.

    Raises
    ------
    DamagedError
        If it is missing.
    """
    if key not in bounds:
        raise DamagedError(where, "a threshold of its clean set is missing")
    return bounds[key]


def check_labels(connection: Connection, set_id: int, classes: Classes) -> None:
    """Check that all verdicts of a clean set are of valid labels.

    Raises
    ------
    DamagedError
        If one is not.
    """
    title = clean_set_title(connection, set_id)
    labels = select(CleanSetCell.label_id).where(CleanSetCell.clean_set_id == set_id).distinct()
    for label in connection.execute(labels.order_by(CleanSetCell.label_id)).scalars():
        decoding.label_name(label, title, classes)


def clean_set_title(connection: Connection, set_id: int) -> str:
    """Name a clean set as messages do: ``clean set NAME@VERSION``."""
    return f"clean set {read_clean_set(connection, set_id).versioned_name}"
