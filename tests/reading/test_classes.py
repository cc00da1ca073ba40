"""A table of classes is read as people write it, and a wrong row is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpastore.classes import DEFAULT_CLASSES, Classes
from hpastore.errors import InputError
from hpastore.reading.classes import load_classes


def load(folder: Path, content: str) -> Classes:
    path = folder / "classes.csv"
    path.write_text(content, encoding="utf-8")
    return load_classes(path)


@pytest.mark.parametrize(
    ("content", "classes"),
    [
        ("id,name\n3,Vacuole\n0,Rods & rings\n", Classes({0: "Rods & rings", 3: "Vacuole"})),
        ("id,name,negative\n3,A,0\n7,B,1\n", Classes({3: "A", 7: "B"}, 7)),
        ("name;negative;id\nA;False;3\nB;TRUE;7\n", Classes({3: "A", 7: "B"}, 7)),
        ("id,name,negative\n3, A ,\n\n7,B,true\n", Classes({3: "A", 7: "B"}, 7)),
        ('id,name\n2147483647,"Vesicles, large"\n', Classes({2**31 - 1: "Vesicles, large"})),
        ("id,name\n3.0,Ö\n", Classes({3: "Ö"})),
    ],
)
def test_classes_are_read(tmp_path: Path, content: str, classes: Classes) -> None:
    assert load(tmp_path, content) == classes


def test_the_default_classes_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [f"{i},{name},{int(i == 18)}\n" for i, name in DEFAULT_CLASSES.names.items()]
    assert load(tmp_path, "id,name,negative\n" + "".join(rows)) == DEFAULT_CLASSES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; its columns must be id,name or id,name,negative"),
        ("id,name\n", "has 0 classes; a store has 1 to 500"),
        ("id,label\n1,a\n", "line 1: its columns must be id,name or id,name,negative, not id,l"),
        ("id,name,colour\n1,a,red\n", "line 1: its columns must be id,name or id,name,negative, n"),
        ("id,name,name\n1,a,b\n", "line 1: its columns must be id,name or id,name,negative, not"),
        ("id,name\n1,a\nx,b\n", "line 3: the id 'x' is not a whole number from 0"),
        ("id,name\n-1,a\n", "line 2: the id '-1' is not a whole number from 0"),
        ("id,name\n1.5,a\n", "line 2: the id '1.5' is not a whole number from 0"),
        ("id,name\n2147483648,a\n", "line 2: invalid id 2147483648 of a class; use a number from"),
        ("id,name\n1,a\n1,b\n", "line 3: the id 1 is given twice"),
        ("id,name\n1,Cytosol\n2,b\n3,CYTOSOL\n", "line 4: the name 'CYTOSOL' is that of line 2"),
        ("id,name\n1,a\n2,\n", "line 3: class 2 has no name"),
        ("id,name\n1,a|b\n", "line 2: class 1 has the name 'a|b'; use no '|', '@' or control"),
        ("id,name\n1,a\tb\n", "line 2: class 1 has the name 'a\\\\tb'; use no '|', '@' or control"),
        ("id,name,negative\n1,a,1\n2,b,1\n", "line 3: a second negative class, beside 1; one at"),
        ("id,name,negative\n1,a,yes\n", "line 2: negative is 'yes' (choose from 0, 1, true, fals"),
        ("id,name\n1,a,b\n", "line 2: has 3 fields, the header 2; "),
        (
            "id,name\n" + "".join(f"{i},place {i}\n" for i in range(501)),
            "has 501 classes; a store has 1 to 500",
        ),
    ],
)
def test_a_wrong_table_is_refused_in_a_line_that_names_the_row(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, content)
    assert re.search(re.escape(f"classes.csv: {message}"), str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_an_error_of_its_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"classes\.csv"):
        load_classes(tmp_path / "classes.csv")
