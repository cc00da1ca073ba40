from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpastore.errors import InputError, UsageError
from hpastore.reading import LabelTable, files, read_labels
from hpastore.reading import table as reader
from hpastore.reading.labels import MAX_VALUE_LENGTH
from hpastore.vocabulary import FAILURE_CODES, LABEL_NAMES, NAME_PATTERN

HEADER = "ID,Label\n"


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


@pytest.fixture(autouse=True, scope="module")
def files_that_rest() -> Iterator[None]:
    """Read a table at once though it was written this very moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_TICK_NS", 0)
        yield


def table(
    folder: Path, content: str | bytes, name: str = "train.csv", **columns: Any
) -> LabelTable:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_labels(path, **columns)


def test_labels_are_distinct_and_ascending_in_the_order_of_the_file(tmp_path: Path) -> None:
    got = table(tmp_path, HEADER + "b,8|5|0\na,18\nc,3|3|1\n")
    assert list(got.labels.items()) == [("b", (0, 5, 8)), ("a", (18,)), ("c", (1, 3))]
    assert got.failures == ()


def test_rows_that_repeat_a_label_are_taken_and_counted(tmp_path: Path) -> None:
    got = table(tmp_path, HEADER + "a,13|13\nb,1|2\nc,1|2|1\n")
    assert got.labels == {"a": (13,), "b": (1, 2), "c": (1, 2)}
    assert got.repeated == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", b"ID,Label\na,3|5\n"),
        ("train.csv", b"ID,Label\r\na,3|5\r\n"),
        ("train.csv", b"ID,Label\ra,3|5\r"),
        ("train.csv", b"ID,Label\na,3|5"),
        ("train.csv", b"\xef\xbb\xbfID,Label\na,3|5\n"),
        ("train.csv", b"Label,ID\n3|5,a\n"),
        ("train.csv", b'"ID","Label"\n"a","3|5"\n'),
        ("train.csv", b"ID,Label\n\na,3|5\n\n\n"),
        ("train.csv", "ID,Größe,Label\na,µm,3|5\n".encode()),
        ("train.csv", b"ID,Note,Note,Label\na,x,y,3|5\n"),
        ("train.csv", b'ID,Label,Note\na,3|5,"two\nlines, ""quoted"""\n'),
        ("train.csv", b"ID\tLabel\na\t3|5\n"),
        ("train.tsv", b"ID\tLabel\na\t3|5\n"),
        ("train.TSV", b"Label\tID\tNote\n5|3\ta\tb,c\n"),
        ("train.txt", b"ID,Label\na,5|3\n"),
        ("train.csv", b"ID,Label\na,05|003\n"),
        ("train.csv", b"ID;Label\na;3|5\n"),
        ("train.csv", b'"ID";"Note, long";"Label"\r\na;x,y;3|5\r\n'),
        ("train.csv", b"sep=,\nID,Label\na,3|5\n"),
        ("train.csv", b"\xef\xbb\xbfsep=;\r\nID;Label\r\na;3|5\r\n"),
        ("train.csv", b'"SEP=\t"\nID\tLabel\na\t3|5\n'),
        ("train.csv", b"ID, Label\na, 3|5\n"),
        ("train.csv", b'ID, "Label"\n"a", "3|5"\n'),
        ("train.csv", b" ID , Label \n a , 3|5 \n"),
        ("train.csv", b"ID,Label\na,3 | 5\n"),
        ("train.csv", b"ID,Label\na, 3|5\n,\n ,  \n"),
        ("train.csv", b"ID\tLabel\twith, commas;\na\t3|5\tb\n"),
        ("train.csv", b'ID,"a\tb",Label\na,c,3|5\n'),
        ("train.csv", b",ID,Label\n0,a,3|5\n"),
        ("train.csv", b"Unnamed: 0,ID,Label\n0,a,3|5\n"),
        ("train.csv", b"ID,Label,\na,3|5,\n"),
        ("train.csv", b"ID,Label\na,3.0|5.00\n"),
        ("train.csv.gz", zipped(b"ID,Label\na,3|5\n")),
        ("train.csv", zipped(b"ID,Label\n") + zipped(b"a,3|5\n")),
        ("train.csv", "ID\tLabel\na\t3|5\n".encode("utf-16")),
        ("train.csv", b"\xfe\xff" + "ID,Label\r\na,3|5\r\n".encode("utf-16-be")),
    ],
)
def test_a_sound_table_is_read_however_it_is_spelled(
    tmp_path: Path, name: str, content: bytes
) -> None:
    assert table(tmp_path, content, name) == LabelTable({"a": (3, 5)}, (), 0)


LABELS = [
    *("", " ", "|", "3|", "|3", "3||5", "3;5", "3 5", "3/5", "3|19", "19", "99", "100", "-1", "+3"),
    *("3.5", "3.", "19.0", "1e1", "0x3", "1_0", "3 .0", "\u00a03", "'3'", "3\x1b[31m", "9" * 5000),
    *("\u0663", "\uff13", "\u00b2", "nan", "None", "Cytosol"),
]


@pytest.mark.parametrize("label", LABELS, ids=lambda label: ascii(label[:20]))
def test_a_label_that_is_not_0_to_18_fails_its_image_alone(tmp_path: Path, label: str) -> None:
    got = table(tmp_path, f"{HEADER}a,{label}\nb,3\n")
    assert got.labels == {"b": (3,)}
    (failure,) = got.failures
    assert (failure.image_name, failure.uri, failure.code) == ("a", "train.csv", "label")
    assert failure.message.startswith("line 2: the label ")
    assert "use 0 to 18" in failure.message
    assert failure.message.isprintable()
    assert len(failure.message) < 300


NAMES = [
    *(
        "",
        " ",
        ".",
        "..",
        "../../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "-rf",
        ".hidden",
        "_a",
        "\ta",
        "a b",
    ),
    *("a:b", "a*", "=cmd|' /C calc'!A0", '"a\nb"', '"a,b"', "x" * 129, "x" * 5000, "\x1b" * 128),
    *("é", "a\u0301", "猫", "🦠", "a\x1b[2J", "a\x7f", "a\u202eb"),
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
def test_a_name_that_is_no_plain_word_fails_its_image_alone(tmp_path: Path, name: str) -> None:
    got = table(tmp_path, f"{HEADER}{name},3\nb,3\n")
    assert got.labels == {"b": (3,)}
    (failure,) = got.failures
    assert (failure.uri, failure.code) == ("train.csv", "name")
    assert failure.image_name.isprintable()
    assert len(failure.image_name) <= 128
    assert failure.message.isprintable()
    assert len(failure.message) < 300


@pytest.mark.parametrize(
    "name", ["007", "1e5", "NA", "null", "nan", "True", "0", "a.b", "A-b_c", "x" * 128]
)
def test_a_name_is_text_whatever_it_looks_like(tmp_path: Path, name: str) -> None:
    assert table(tmp_path, f"{HEADER}{name},3\n").labels == {name: (3,)}


def test_control_characters_of_a_name_are_escaped_and_its_letters_are_kept(tmp_path: Path) -> None:
    got = table(tmp_path, HEADER + "a\x1b[2Jé,3\n")
    assert got.failures[0].image_name == "a\\x1b[2Jé"


def test_a_name_twice_with_the_same_labels_is_one_image(tmp_path: Path) -> None:
    got = table(tmp_path, HEADER + "a,3|5\nb,1\na,5|3\na,3|5|5\n")
    assert got.labels == {"a": (3, 5), "b": (1,)}
    assert got.failures == ()


def test_a_name_with_different_labels_is_rejected_once_with_the_lines(tmp_path: Path) -> None:
    got = table(tmp_path, HEADER + "a,3\nb,1\na,5\na,3\na,7\n")
    assert got.labels == {"b": (1,)}
    (failure,) = got.failures
    assert (failure.image_name, failure.code) == ("a", "duplicate")
    assert failure.message == "line 4: its labels are 5, but 3 on line 2; keep one of the rows"


def test_of_names_that_differ_in_case_the_first_is_kept(tmp_path: Path) -> None:
    got = table(tmp_path, HEADER + "Ab,3\naB,3\nc,1\n")
    assert got.labels == {"Ab": (3,), "c": (1,)}
    (failure,) = got.failures
    assert (failure.image_name, failure.code) == ("aB", "duplicate")
    assert "equals Ab of line 2" in failure.message


@pytest.mark.parametrize("rows", ["a,3\na,19\n", "a,19\na,3\n"])
def test_an_image_with_a_bad_row_is_not_saved_by_a_good_one(tmp_path: Path, rows: str) -> None:
    got = table(tmp_path, HEADER + rows)
    assert got.labels == {}
    assert [failure.code for failure in got.failures] == ["label"]


def test_every_failure_has_a_known_code_and_the_order_of_the_file(tmp_path: Path) -> None:
    got = table(tmp_path, HEADER + "a,3\n/,3\nb,x\nA,3\na,4\n")
    assert [failure.code for failure in got.failures] == ["name", "label", "duplicate", "duplicate"]
    assert {failure.code for failure in got.failures} <= set(FAILURE_CODES)
    assert [failure.message.split(":")[0] for failure in got.failures] == [
        f"line {n}" for n in (3, 4, 5, 6)
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\n\n", "is empty"),
        (b"ID,Label\n", "no rows"),
        (b"ID,Label", "no rows"),
        (b"a,3\nb,4\n", "line 1: has no column 'ID', but a, 3; name another with --id-column"),
        (b"name," * 1000 + b"Label\na,3\n", "no column 'ID', but name, name, "),
        (b"ID,Labels\na,3\n", "line 1: has no column 'Label', but ID, Labels; .* --label-column"),
        (b"id,label\na,3\n", "no column 'ID'"),
        (b"ID;Labels\na;3\n", "line 1: has no column 'Label', but ID, Labels; name"),
        (
            b"ID|Label\na|3\n",
            r"no column 'ID', but ID\|Label; separate columns by commas, semicolons or tabs",
        ),
        (
            b"sep=|\nID|Label\na|3\n",
            r"line 1: has the separator '\|'; use a comma, a semicolon or tabs",
        ),
        (
            b"sep=;\nID,Label\na,3\n",
            "line 2: has no column 'ID', but ID,Label; separate columns by",
        ),
        (b"sep=;\nID;Label\na;3\nb\n", "line 4: has 1 fields, the header 2"),
        (b"ID;Label\na;3;5\n", "line 2: has 3 fields, .* quote a text that holds a semicolon"),
        (zipped(b"ID,Label\na,3\n")[:-9], "is damaged or cut, and cannot be unpacked"),
        (zipped(b"ID,Label\na,3\n") + b"x", "is damaged or cut, and cannot be unpacked"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0" + b"\xff" * 9, "is damaged or cut, and cannot be unpacked"),
        (zipped(b"ID,Label\na,\xe9\n"), "line 2: is not UTF-8"),
        (
            b"PK\3\4\x14\0\6\0\xff\xfe",
            "is an Excel workbook, or another zip archive; save the table as CSV",
        ),
        (zipped(b"PK\3\4"), "is an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is an old Excel workbook; save"),
        (b"BZh91AY", "is compressed with bzip2; unpack it"),
        (b"\xfd7zXZ\0", "is compressed with xz; unpack it"),
        (b"\x28\xb5\x2f\xfd\0", "is compressed with zstd; unpack it"),
        (b"PAR1\0", "is a Parquet file"),
        (b"ID,Label,ID\na,3,a\n", "line 1: has more than one column 'ID'"),
        (b"ID,Label,Label\na,3,3\n", "more than one column 'Label'"),
        (b"\x1b[31m,Label\na,3\n", r"but \\x1b\[31m, Label"),
        (b"ID,Label\na,3\nb\n", "line 3: has 1 fields, the header 2"),
        (b"ID,Label\na,3,4\n", "line 2: has 3 fields, the header 2"),
        (b"ID,Label\na,3,\n", "line 2: has 3 fields"),
        (b"ID,Label\n   \n,\n", "no rows"),
        (b"ID,Label\na,3\n\x0b\n", "line 3: has 1 fields"),
        (
            b"ID,Label,Note\na,3,big, round\n",
            "line 2: has 4 fields, the header 3; correct the row; quote a text",
        ),
        (b"ID,Label\na,3\n\xe9,3\n", "line 3: is not UTF-8"),
        ("ID,Label\na,3\n".encode("utf-16")[:-1], "line 2: is not UTF-16, as its first bytes say"),
        ("ID,Label\na,3\n".encode("utf-16-le"), "line 1: holds a NUL byte"),
        (b"ID,Label\na\0b,3\n", "line 2: holds a NUL byte"),
        (b'ID,Label\n"a,3\n', "line 2: .*; correct the quotes"),
        (b'ID,Label\n"a"b,3\n', "line 2: .*; correct the quotes"),
        (b'ID\tLabel\n"a"b\t3\n', r"line 2: '\\t' expected after '\"'; correct the quotes"),
        (b'ID,Label\na,3\n"b,4\nc,5\n', "line 4: .*; correct the quotes"),
        (b"ID,Label\n" + b"a" * (10 << 20) + b",3\n", "line 2: field larger than field limit"),
        (b"\x89PNG\r\n\x1a\n", "line 1: is not UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_says_where_and_what_to_do(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        table(tmp_path, content)
    assert caught.value.path == tmp_path / "train.csv"
    assert str(caught.value).isprintable()
    assert len(caught.value.reason) < 300


def test_a_table_that_unpacks_to_more_than_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_TABLE_BYTES", 2**16)
    rows = HEADER + "".join(f"a{n},3\n" for n in range(9000))
    with pytest.raises(InputError, match="unpacks to more than 65,536 bytes; give a smaller table"):
        table(tmp_path, zipped(rows.encode()))


def test_a_missing_table_and_a_folder_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_labels(tmp_path / "train.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path)


def test_other_columns_can_be_named(tmp_path: Path) -> None:
    got = table(tmp_path, "image,ID,y\na,7,3\n", id_column="image", label_column="y")
    assert got.labels == {"a": (3,)}


def test_a_bad_row_is_named_by_its_line_behind_a_field_of_several_lines(tmp_path: Path) -> None:
    got = table(tmp_path, 'ID,Label,Note\na,3,"x\ny"\nb,x,\n')
    assert got.failures[0].message.startswith("line 4: ")


# Kept columns

WIDE = "ID,Label,plate,cell line\n"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("P1", "P1"),
        ("  P 1 ", "P 1"),
        ("007", "007"),
        ("1.50", "1.50"),
        ("NA", "NA"),
        ("", ""),
        ("   ", ""),
        ('"a, ""b"" \\ c"', 'a, "b" \\ c'),
        ('"two\nlines\tand \x1b"', "two\nlines\tand \x1b"),
        ("Größe 猫 🦠", "Größe 猫 🦠"),
        ("x" * MAX_VALUE_LENGTH, "x" * MAX_VALUE_LENGTH),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_a_kept_column_is_text_as_it_is_written(tmp_path: Path, written: str, value: str) -> None:
    got = table(tmp_path, f"{WIDE}a,3,{written},U2OS\n", keep_columns=["plate"])
    assert got.columns == {"a": {"plate": value}}
    assert (got.labels, got.failures) == ({"a": (3,)}, ())


def test_columns_are_read_only_where_they_are_kept(tmp_path: Path) -> None:
    content = WIDE + "a,3,P1,U2OS\nb,x,P2,HeLa\n"
    assert table(tmp_path, content).columns == {}
    both = table(tmp_path, content, keep_columns=["plate", "cell line"])
    assert both.columns == {"a": {"plate": "P1", "cell line": "U2OS"}}
    assert [failure.image_name for failure in both.failures] == ["b"]


@pytest.mark.parametrize(
    ("header", "name", "reason"),
    [
        ("ID,Label,plate,well", "Plate", "has no such column (choose from plate, well)"),
        ("ID,Label,plate,plate", "plate", "has 2 columns of this name; rename one"),
        ("ID,Label,plate", "ID", "has the names or the labels there (choose from plate)"),
        ("ID,Label,plate", "Label", "has the names or the labels there (choose from plate)"),
        ("ID,Label", "plate", "has no such column (there are no other columns)"),
        (",ID,Label", "plate", "has no such column (there are no other columns)"),
        ("\x1b[2J,ID,Label", "plate", r"has no such column (choose from \x1b[2J)"),
    ],
)
def test_a_column_that_cannot_be_kept_is_refused_with_the_tables_columns(
    tmp_path: Path, header: str, name: str, reason: str
) -> None:
    row = ",".join(("x" if column == "" else "3") for column in header.split(","))
    with pytest.raises(UsageError) as caught:
        table(tmp_path, f"{header}\n{row}\n", keep_columns=[name])
    path = tmp_path / "train.csv"
    assert str(caught.value) == f"invalid --keep-column '{name}': {path} {reason}"


def test_a_value_that_is_too_long_fails_its_image_alone(tmp_path: Path) -> None:
    long = "x" * (MAX_VALUE_LENGTH + 1)
    got = table(tmp_path, f"{WIDE}a,3,{long},\nb,3,P1,{long}\n", keep_columns=["plate"])
    assert got.columns == {"b": {"plate": "P1"}}
    (failure,) = got.failures
    assert (failure.image_name, failure.code) == ("a", "column")
    assert failure.message == "line 2: its plate has 1,001 characters; use up to 1,000"
    assert failure.code in FAILURE_CODES


def test_two_rows_that_differ_in_a_kept_column_fail_their_image(tmp_path: Path) -> None:
    content = WIDE + "a,3,P1,U2OS\nb,3,P1,\na,3,P2,U2OS\na,3,P3,\n"
    got = table(tmp_path, content, keep_columns=["cell line", "plate"])
    assert (got.labels, got.columns) == ({"b": (3,)}, {"b": {"plate": "P1", "cell line": ""}})
    (failure,) = got.failures
    assert (failure.image_name, failure.code) == ("a", "duplicate")
    assert failure.message == "line 4: its plate is 'P2', but 'P1' on line 2; keep one of the rows"


def test_two_rows_that_differ_in_another_column_are_one_image(tmp_path: Path) -> None:
    content = WIDE + "a,3,P1,U2OS\na,3, P1 ,HeLa\n"
    got = table(tmp_path, content, keep_columns=["plate"])
    assert (got.columns, got.failures) == ({"a": {"plate": "P1"}}, ())


def test_an_empty_value_differs_from_one_that_is_none(tmp_path: Path) -> None:
    got = table(tmp_path, WIDE + "a,3,\x1b,\na,3,,\n", keep_columns=["plate"])
    assert [failure.message for failure in got.failures] == [
        r"line 3: its plate is '', but '\x1b' on line 2; keep one of the rows"
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@settings(deadline=None)
@given(
    st.dictionaries(
        st.from_regex(NAME_PATTERN, fullmatch=True).map(str.lower),
        st.lists(st.integers(0, len(LABEL_NAMES) - 1), min_size=1),
        min_size=1,
    ),
    st.sampled_from(["\n", "\r\n"]),
)
def test_every_sound_table_comes_back(folder: Path, images: dict[str, list[int]], end: str) -> None:
    rows = ["ID,Label", *(f"{name},{'|'.join(map(str, ids))}" for name, ids in images.items())]
    got = table(folder, end.join(rows))
    assert list(got.labels.items()) == [
        (name, tuple(sorted(set(ids)))) for name, ids in images.items()
    ]
    assert got.repeated == sum(len(set(ids)) < len(ids) for ids in images.values())
    assert got.failures == ()


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_noise_is_refused_or_fails_its_rows_and_nothing_worse(folder: Path, noise: bytes) -> None:
    try:
        got = table(folder, HEADER.encode() + noise)
    except InputError as error:
        said = [error.reason]
    else:
        said = [failure.message for failure in got.failures]
        assert all(NAME_PATTERN.fullmatch(name) for name in got.labels)
    assert all(text.isprintable() for text in said)


def test_the_table_of_the_competition_is_read_as_published(data: Path) -> None:
    got = read_labels(data / "kaggle_train.csv")
    counts = [sum(i in ids for ids in got.labels.values()) for i in range(len(LABEL_NAMES))]
    assert len(got.labels) == 21_806
    assert got.failures == ()
    assert got.repeated == 146
    assert counts == [
        *(8797, 1095, 2451, 1262, 1425, 1792, 775, 1846, 964, 998),
        *(818, 78, 1734, 3111, 2013, 252, 5685, 593, 34),
    ]
