from __future__ import annotations

from dataclasses import replace

import pytest

from hpastore.ingestion.failures import conflict, duplicate_name, is_listed, missing_files
from hpastore.model import FileStamp, Source

FILES = (FileStamp("red", "train/a_red.png", 1, 1),)
SOURCE = Source("a", (0,), FILES)


@pytest.mark.parametrize(
    ("missing", "nearest", "message"),
    [
        (
            ("train/a_red.png",),
            (),
            "a: train/a_red.png is missing; add it, or remove the image's row from the table",
        ),
        (
            ("train/a_red.png", "masks/a.npz"),
            ("a_red.tif", "a.mat"),
            (
                "a: train/a_red.png and masks/a.npz are missing (found, but not read: a_red.tif, a.mat); "
                "add them, or remove the image's row from the table"
            ),
        ),
    ],
)
def test_missing_files_are_named_with_those_that_may_be_meant(
    missing: tuple[str, ...], nearest: tuple[str, ...], message: str
) -> None:
    failure = missing_files(SOURCE._replace(missing=missing, nearest=nearest))
    assert (failure.code, failure.uri, failure.message) == ("missing_file", missing[0], message)
    assert failure.files == ()


def test_a_name_that_differs_only_in_case_is_shown_with_the_other() -> None:
    failure = duplicate_name(SOURCE, "A")
    assert (failure.code, failure.uri) == ("duplicate", "train/a_red.png")
    assert failure.message == "a: the store has A, which differs only in case; rename one of them"


def test_a_conflict_says_what_to_do_about_a_root_with_spaces() -> None:
    failure = conflict(SOURCE, "/my data")
    assert (failure.code, failure.files) == ("conflict", FILES)
    assert failure.message == (
        "a: the store has another image with this name, from /my data; rename one of the two.  If that "
        "root no longer exists: ingest with --moved-from '/my data' if it has moved here, else run "
        "hpastore forget '/my data'"
    )


def test_a_failure_is_listed_if_code_file_and_message_are_the_same() -> None:
    failure = conflict(SOURCE, "/data")
    assert is_listed(failure, {"a": replace(failure, files=())})
    assert not is_listed(failure, {})
    for change in ({"code": "png"}, {"uri": "other"}, {"message": "other"}):
        assert not is_listed(failure, {"a": replace(failure, **change)})  # type: ignore[arg-type]
