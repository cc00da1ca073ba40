"""A label is given by its id or its name, whatever the case; a word that is wrong is answered."""

from __future__ import annotations

import re

import pytest

from hpastore.errors import UsageError
from hpastore.vocabulary import LABEL_NAMES, find_label


@pytest.mark.parametrize(("label_id", "name"), [*enumerate(LABEL_NAMES)])
def test_every_label_is_found_by_its_id_and_by_its_name_in_any_case(
    label_id: int, name: str
) -> None:
    given = (
        label_id,
        str(label_id),
        f" {label_id} ",
        name,
        name.lower(),
        name.upper(),
        f" {name} ",
    )
    assert {find_label(label) for label in given} == {label_id}


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("Cytosl", "no label 'Cytosl'; did you mean Cytosol? list all labels with: hpastore sql"),
        ("cyto", "no label 'cyto'; did you mean Cytosol? list"),
        ("golgi aparatus", "no label 'golgi aparatus'; did you mean Golgi apparatus? list"),
        ("nuclear", "no label 'nuclear'; did you mean Nuclear membrane or Nuclear speckles or "),
        ("qqqq", "no label 'qqqq'; ids go from 0 to 18; list"),
        ("", "no label ''; ids go from 0 to 18; list"),
        (19, "no label 19; ids go from 0 to 18; list"),
        (-1, "no label '-1'; ids go from 0 to 18; list"),
        ("1" * 5000, f"no label {'1' * 127}…; ids"),
        ("\x1b[2J", "no label '\\\\x1b[2J'; "),
        ("٣", "no label ٣; "),
    ],
)
def test_another_word_is_refused_with_similar_names(label: int | str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        find_label(label)


@pytest.mark.parametrize("name", LABEL_NAMES)
def test_the_beginning_of_a_name_is_not_enough(name: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean .*{name}"):
        find_label(name[:-1])
