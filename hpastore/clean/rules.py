"""What makes a cell clean, as a value."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Final

from hpastore.errors import UsageError
from hpastore.kernels.measures import channel_of
from hpastore.model import require_share

SCOPES: Final = ("single", "all")

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_BRIGHTEST: Final = 255


@dataclass(frozen=True)
class Rule:
    """Keep a cell whose measure lies between two percentiles of its label, both inclusive.

    Parameters
    ----------
    measure : str
        A measure's name; by default the notebook's ``fraction``.
    channel : str, optional
        The measure's channel; ignored for a measure of shape.
    lower, upper : float
        Percentiles as shares 0..1; the defaults are the notebook's.
    """

    measure: str = "fraction"
    channel: str | None = "green"
    lower: float = 0.001
    upper: float = 0.999

    def checked(self) -> Rule:
        """Return the rule with its channel put right.

        Raises
        ------
        UsageError
            If there is no such measure or channel, or a percentile is not a share, or the lower is
            above the upper.
        """
        require_share(self.lower, "lower")
        require_share(self.upper, "upper")
        if self.lower > self.upper:
            raise UsageError(f"lower {self.lower:g} is above upper {self.upper:g}")
        return Rule(self.measure, channel_of(self.measure, self.channel), self.lower, self.upper)


@dataclass(frozen=True)
class CleanRecipe:
    """Everything that a clean set is made from.

    Parameters
    ----------
    rule : Rule
    min_green : int
        Cells whose brightest green pixel is below are dark, hence not clean, except in images whose
        only label is Negative; 0 turns this off.  The default is the notebook's MAX_GREEN.
    scope : str
        ``single`` judges the cells of images with one label; ``all`` judges each cell against each
        label of its image.
    """

    rule: Rule = Rule()
    min_green: int = 64
    scope: str = "single"

    def checked(self) -> CleanRecipe:
        """Return the recipe with its rule checked.

        Raises
        ------
        UsageError
            If a value makes no sense.
        """
        if self.scope not in SCOPES:
            raise UsageError(f"no scope {self.scope!r}; there are {' and '.join(SCOPES)}")
        if not 0 <= self.min_green <= _BRIGHTEST + 1:
            raise UsageError(f"min green takes a grey level from 0 to {_BRIGHTEST + 1}, not {self.min_green}")
        return CleanRecipe(self.rule.checked(), self.min_green, self.scope)

    def toml(self) -> str:
        """Write the recipe as TOML.

        Examples
        --------
        >>> print(CleanRecipe().toml(), end="")
        scope = "single"
        min_green = 64
        <BLANKLINE>
        [[rule]]
        measure = "fraction"
        channel = "green"
        lower_percentile = 0.001
        upper_percentile = 0.999
        """
        rule = asdict(self.rule)
        lines = [f'scope = "{self.scope}"', f"min_green = {self.min_green}", "", "[[rule]]"]
        lines += [f'{name} = "{rule[name]}"' for name in ("measure", "channel") if rule[name] is not None]
        lines += [f"{name}_percentile = {float(rule[name])!r}" for name in ("lower", "upper")]
        return "\n".join(lines) + "\n"


def check_name(name: str) -> None:
    """Refuse a name that no clean set may have.

    Raises
    ------
    UsageError
    """
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a clean set's name; use letters, digits, '.', '_' and '-', up to 64"
        )
