"""A label is given by its id or its name, whatever the case; a word that is wrong is answered."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from hpastore.classes import DEFAULT_CLASSES, Classes
from hpastore.errors import UsageError
from hpastore.vocabulary import LABEL_NAMES


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
    assert {DEFAULT_CLASSES.find(label) for label in given} == {label_id}


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
        DEFAULT_CLASSES.find(label)


@pytest.mark.parametrize("name", LABEL_NAMES)
def test_the_beginning_of_a_name_is_not_enough(name: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean .*{name}"):
        DEFAULT_CLASSES.find(name[:-1])


FEW = Classes({2018: "Negative", 3: "Vacuole", 100: "Rods & rings", 7: "7"}, 2018)


def test_classes_are_in_ascending_order_of_their_ids() -> None:
    assert FEW.ids == (3, 7, 100, 2018)
    assert list(FEW.names) == [3, 7, 100, 2018]


@pytest.mark.parametrize(
    ("label", "found"),
    [(3, 3), ("100", 100), ("rods & RINGS", 100), ("7", 7), (" negative ", 2018)],
)
def test_classes_with_gaps_are_found_by_id_and_name(label: int | str, found: int) -> None:
    assert FEW.find(label) == found


@pytest.mark.parametrize("label", [0, 4, 16, "Cytosol", 2**31, "9" * 10])
def test_the_message_names_the_ids_that_there_are(label: int | str) -> None:
    with pytest.raises(UsageError, match=r"^no label .*; ids are 3, 7, 100 and 2018; list all"):
        FEW.find(label)


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([5], "5"),
        ([0, 1], "0 and 1"),
        (range(19), "0 to 18"),
        ([0, 1, 2, 4, 6, 7], "0 to 2, 4, 6 and 7"),
        (range(0, 100, 2), "0, 2, 4, 6, 8, 10, 12, 14 and 42 more"),
        ([], "none"),
    ],
)
def test_ids_are_listed_in_a_few_words(ids: Iterable[int], text: str) -> None:
    assert Classes({label: f"place {label}" for label in ids}).ids_text == text


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (Classes({}), "0 classes; a store has 1 to 500"),
        (Classes({i: f"place {i}" for i in range(501)}), "501 classes; a store has 1 to 500"),
        (Classes({-1: "a"}), "invalid id -1 of a class; use a number from 0 to 2147483647"),
        (Classes({2**31: "a"}), "invalid id 2147483648 of a class"),
        (Classes({1: ""}), "class 1 has no name"),
        (Classes({1: " a"}), "class 1 has the name ' a'; use one without space around it"),
        (Classes({1: "a|b"}), "class 1 has the name 'a|b'; use no '|', '@' or control character"),
        (Classes({1: "a@2"}), "class 1 has the name 'a@2'; use no '|', '@' or control character"),
        (Classes({1: "a\x1b"}), "class 1 has the name 'a\\\\x1b'; use no '|', '@' or control"),
        (Classes({1: "a" * 129}), "class 1 has a name of more than 128 characters"),
        (Classes({1: "2"}), "class 1 has the name '2', which would be taken for an id"),
        (Classes({1: "a", 5: "A"}), "classes 1 and 5 have the same name, 'a'"),
        (Classes({1: "a"}, 2), "no class 2, which was given as the negative one"),
    ],
)
def test_classes_that_no_store_may_have_are_refused(classes: Classes, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        classes.validated()


@pytest.mark.parametrize("classes", [DEFAULT_CLASSES, FEW, Classes({0: "a"})])
def test_other_classes_are_allowed(classes: Classes) -> None:
    assert classes.validated() is classes
