"""The classes that images and cells can be labelled with: ids, names, and which one is negative.

Context: the 19 location labels of 2021 were constants of the program, while a lab has the 28 of
2018, or its own.  Decision: the classes are rows of each store, read once in a transaction and
passed as `Classes` to whoever needs names or valid ids.  Consequence: ids may have gaps and be
large, and nothing computes one from the number of classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Final

from hpastore.errors import UsageError
from hpastore.text import printable
from hpastore.vocabulary import LABEL_NAMES, NEGATIVE

MAX_LABEL_ID: Final = 2**31 - 1
"""The largest integer that both databases hold in ``label.id``."""

MAX_CLASSES: Final = 500
MAX_NAME_LENGTH: Final = 128

_LABEL_ID: Final = re.compile(r"[0-9]{1,10}")

_SEPARATORS: Final = "|@"
"""They stand between labels, and before a version."""

_MAX_SHOWN_IDS: Final = 8
"""In a message, where consecutive ids count as two."""

_SHORTEST_RANGE: Final = 3


@dataclass(frozen=True)
class Classes:
    """The classes of a store.

    Parameters
    ----------
    names : mapping of int to str
        Names by id; kept in ascending order of the ids.
    negative : int, optional
        The id of the class of cells that do not show the protein.

    Examples
    --------
    >>> classes = Classes({3: "Vacuole", 7: "Nothing"}, negative=7)
    >>> classes.find("vacuole"), classes.find(7), classes.ids_text
    (3, 7, '3 and 7')
    """

    names: Mapping[int, str]
    negative: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", dict(sorted(self.names.items())))

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """All ids, ascending."""
        return tuple(self.names)

    @cached_property
    def ids_text(self) -> str:
        """The ids as messages list them: ``0 to 18``, or ``3, 7 and 100``."""
        parts: list[str] = []
        listed = 0
        for ids in _ranges(self.ids):
            if len(parts) >= _MAX_SHOWN_IDS:
                break
            is_range = len(ids) >= _SHORTEST_RANGE
            parts += [f"{ids[0]} to {ids[-1]}"] if is_range else [str(label) for label in ids]
            listed += len(ids)
        if listed < len(self.ids):
            parts.append(f"{len(self.ids) - listed} more")
        *first, last = parts or ["none"]
        return f"{', '.join(first)} and {last}" if first else last

    def find(self, label: int | str) -> int:
        """Return the id of a class that is given by its id or its name.

        Parameters
        ----------
        label : int or str
            An id, also as text, or a full name in any case.

        Raises
        ------
        UsageError
            If there is no such class, with the names that are similar.
        """
        text = str(label).strip()
        if text.casefold() in self._ids_by_name:
            return self._ids_by_name[text.casefold()]
        if _LABEL_ID.fullmatch(text) and int(text) in self.names:
            return int(text)
        raise UsageError(self._unknown_label(text))

    def validated(self) -> Classes:
        """Return the classes if a store can have them.

        Raises
        ------
        UsageError
            If their number, an id or a name is not allowed, two names are equal whatever the case,
            or there is no negative class of this id.
        """
        require_number_of_classes(len(self.names))
        for label, name in self.names.items():
            check_class(label, name)
            other = self._ids_by_name[name.casefold()]
            if other != label:
                raise UsageError(f"classes {label} and {other} have the same name, {name!r}")
        if self.negative is not None and self.negative not in self.names:
            raise UsageError(f"no class {self.negative}, which was given as the negative one")
        return self

    @cached_property
    def _ids_by_name(self) -> dict[str, int]:
        return {name.casefold(): label for label, name in self.names.items()}

    def _unknown_label(self, text: str) -> str:
        from difflib import get_close_matches  # loaded only for the message

        shown = printable(text) if text.isdecimal() else repr(printable(text))
        word = text.casefold()
        known = self._ids_by_name
        longer = [name for name in known if word and name.startswith(word)]
        similar = longer or get_close_matches(word, known, cutoff=0.7)
        names = " or ".join(printable(self.names[known[name]]) for name in similar)
        is_range = len(_ranges(self.ids)) == 1 and len(self.ids) >= _SHORTEST_RANGE
        ids = f"ids go from {self.ids_text};" if is_range else f"ids are {self.ids_text};"
        hint = f"did you mean {names}?" if similar else ids
        how = "list all labels with: hpastore sql 'SELECT id, name FROM label'"
        return f"no label {shown}; {hint} {how}"


def _ranges(ids: tuple[int, ...]) -> list[list[int]]:
    """Divide ascending ids into runs of consecutive ones."""
    numbered = groupby(enumerate(ids), key=lambda pair: pair[1] - pair[0])
    return [[label for _, label in run] for _, run in numbered]


def check_class(label: int, name: str) -> None:
    """Refuse an id or a name that no class may have.

    Raises
    ------
    UsageError
    """
    if not 0 <= label <= MAX_LABEL_ID:
        raise UsageError(f"invalid id {label} of a class; use a number from 0 to {MAX_LABEL_ID}")
    shown = repr(printable(name))
    if not name.strip():
        raise UsageError(f"class {label} has no name")
    if name != name.strip():
        raise UsageError(f"class {label} has the name {shown}; use one without space around it")
    if len(name) > MAX_NAME_LENGTH:
        raise UsageError(f"class {label} has a name of more than {MAX_NAME_LENGTH} characters")
    if not name.isprintable() or any(character in name for character in _SEPARATORS):
        raise UsageError(
            f"class {label} has the name {shown}; use no '|', '@' or control character"
        )
    if name.isdecimal() and name != str(label):
        raise UsageError(f"class {label} has the name {shown}, which would be taken for an id")


def require_number_of_classes(number: int) -> None:
    """Refuse no classes, and too many.

    Raises
    ------
    UsageError
    """
    if not 1 <= number <= MAX_CLASSES:
        raise UsageError(f"{number} classes; a store has 1 to {MAX_CLASSES}")


DEFAULT_CLASSES: Final = Classes(dict(enumerate(LABEL_NAMES)), NEGATIVE)
"""Those of a new store: the 19 of the Human Protein Atlas in 2021."""
