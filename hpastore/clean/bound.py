"""One bound of a rule, as a recipe gives it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

from hpastore.errors import UsageError
from hpastore.kernels.custom import MAX_VALUE
from hpastore.text import printable

BoundKind = Literal["percentile", "value", "median", "image_median"]

_MAX_FACTOR: Final = 1e6
"""Of a median.  On PostgreSQL a product out of range fails every query."""


@dataclass(frozen=True)
class Bound:
    """The lower or upper bound of a cell's value: a percentile, a value or a multiple of a median.

    Parameters
    ----------
    percentile : float, optional
        Of the label's cells, a share 0..1.
    value : float, optional
        In the measure's unit.
    median : float, optional
        A multiple of the label's median.
    image_median : float, optional
        A multiple of the median of all cells of the cell's own image, whatever their labels.
    """

    percentile: float | None = None
    value: float | None = None
    median: float | None = None
    image_median: float | None = None

    def resolve(self) -> tuple[BoundKind, float]:
        """Return the kind of bound and its number.

        Raises
        ------
        UsageError
            If it is not one number of one kind.
        """
        numbers = {kind: getattr(self, kind) for kind in get_args(BoundKind)}
        given = {kind: number for kind, number in numbers.items() if number is not None}
        if len(given) != 1:
            raise UsageError(
                "a bound is one of {percentile = P}, {value = V}, {median = M} and "
                "{image_median = M}"
            )
        [(kind, number)] = given.items()

        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        # A percentile that is NaN is refused with the others outside 0..1, by `Rule.validated`.
        is_finite = is_number and (kind == "percentile" or abs(number) < math.inf)
        if not is_finite or abs(number) > MAX_VALUE:
            raise UsageError(f"invalid {kind} {printable(repr(number))} of a bound; use a number")
        if kind in ("median", "image_median") and abs(number) > _MAX_FACTOR:
            raise UsageError(
                f"invalid {kind} {number:g} of a bound; use a factor up to {_MAX_FACTOR:g}"
            )
        return kind, float(number)
