"""Custom measures of installed packages, found by their entry points."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from hpastore.errors import MeasureError
from hpastore.kernels.custom import CustomMeasure
from hpastore.model import RequiredMeasures
from hpastore.text import printable

GROUP: Final = "hpastore.measures"


@cache
def load_measures() -> tuple[CustomMeasure, ...]:
    """Load the custom measures; once per process, since installed packages do not change meanwhile.

    Returns
    -------
    CustomMeasure
        By name, ascending; none if no package names any.

    Raises
    ------
    MeasureError
        If one cannot be loaded or is no `CustomMeasure`, or two have the same name; names the
        packages.
    """
    homes: dict[str, EntryPoint] = {}
    found: dict[str, CustomMeasure] = {}
    for entry in entry_points(group=GROUP):
        measure = _load_entry(entry)
        if measure.name in found:
            both = f"{_entry_text(homes[measure.name])} and {_entry_text(entry)}"
            raise MeasureError(
                measure.name, f"{both} have the same name; rename one, or uninstall its package"
            )
        homes[measure.name], found[measure.name] = entry, measure
    return tuple(found[name] for name in sorted(found))


def required_measures(measures: Sequence[CustomMeasure]) -> RequiredMeasures:
    """Give the names and versions of measures, apart by what they are a function of."""

    def versions(kind: str) -> frozenset[tuple[str, int]]:
        return frozenset((m.name, m.version) for m in measures if m.kind == kind)

    return RequiredMeasures(versions("histogram"), versions("crops"))


def _load_entry(entry: EntryPoint) -> CustomMeasure:
    try:
        with redirect_stdout(sys.stderr):
            value = entry.load()
    except (Exception, SystemExit) as error:  # whatever a foreign module raises
        cause = printable(f"{type(error).__name__}: {error}", 300)
        reason = f"cannot be loaded ({cause}); fix it, or uninstall its package"
        raise MeasureError(_entry_text(entry), reason) from error
    if not isinstance(value, CustomMeasure):
        kind = type(value).__name__
        raise MeasureError(
            _entry_text(entry), f"it is of type {kind}, and must be an hpastore.CustomMeasure"
        )
    return value


def _entry_text(entry: EntryPoint) -> str:
    package = f" of {entry.dist.name} {entry.dist.version}" if entry.dist else ""
    return f"{entry.name} = {entry.value}{package}"
