from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpastore.errors import UsageError
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.options import EXECUTORS, check_arguments

LAYOUT = Layout(Path("/data"))


def test_the_executor_and_the_jobs_give_the_number_of_processes() -> None:
    assert check_arguments(LAYOUT, "process", 3) == 3
    assert check_arguments(LAYOUT, "serial", 3) == 3
    assert check_arguments(LAYOUT) >= 1
    assert EXECUTORS == ("process", "serial")


@pytest.mark.parametrize(
    ("layout", "arguments", "message"),
    [
        ({}, {"executor": "cloud"}, "invalid --executor 'cloud' (choose from process, serial)"),
        ({}, {"jobs": 0}, "jobs takes a number of processes"),
        ({}, {"background_percentile": 1.5}, "background percentile takes a share from 0 to 1"),
        ({"split": " "}, {}, "invalid --split ' ' (give a name, such as train)"),
        ({"split": "a\x1b"}, {}, r"invalid --split 'a\\x1b'"),
        ({"binary_mask": "x"}, {}, "invalid --binary-mask 'x' (choose from keep, components)"),
        ({"keep_columns": ["a", " "]}, {}, "invalid --keep-column ' ' (give a column's name"),
        ({"keep_columns": ["a\udcff"]}, {}, r"invalid --keep-column 'a\\udcff' (give"),
        ({"drop_columns": ["x" * 129]}, {}, "invalid --drop-column 'xxx"),
        ({"drop_columns": "plate"}, {}, "--drop-column 'plate' must be in a list of names"),
        (
            {"keep_columns": ["a", "b"], "drop_columns": ["b"]},
            {},
            "--keep-column and --drop-column both name 'b'; give one",
        ),
        (
            {"keep_columns": ["a"], "labels": "none"},
            {},
            "--keep-column needs a table of labels; --labels none reads no table",
        ),
        ({"match_nuclei": "x"}, {}, "invalid --match-nuclei 'x' (choose from id, overlap)"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named_with_its_choices(
    layout: dict[str, Any], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_arguments(Layout(Path("/data"), **layout), **arguments)
    assert str(caught.value).startswith(message)
