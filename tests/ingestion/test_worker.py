from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NoReturn

import cv2
import pytest

from hpastore.errors import RejectedError
from hpastore.ingestion import worker
from hpastore.ingestion.discover import discover
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.worker import Task, compare_files, measure_source
from hpastore.model import Failure, Measured, Source, Touched
from tests.world import dataset, write_image


@pytest.fixture
def source(tmp_path: Path) -> Source:
    (found,) = discover(Layout(dataset(tmp_path, 1))).sources
    return found


def hashes(source: Source, root: Path) -> dict[str, str]:
    return {
        file.role: hashlib.sha256((root / file.uri).read_bytes()).hexdigest()
        for file in source.files
    }


def test_an_image_with_the_stored_bytes_is_not_decoded(source: Source, tmp_path: Path) -> None:
    stored = hashes(source, tmp_path)
    result = measure_source(Task(source, stored), tmp_path, 0.99)
    assert isinstance(result, Touched)
    assert {file.role: file.sha256 for file in result.files} == stored


def test_an_image_with_outdated_numbers_is_measured_whatever_its_bytes(
    source: Source, tmp_path: Path
) -> None:
    result = measure_source(Task(source, hashes(source, tmp_path), outdated=True), tmp_path, 0.99)
    assert isinstance(result, Measured)
    assert (result.width, result.height, len(result.cells.mask_ids)) == (32, 24, 3)


def test_other_bytes_than_those_of_another_root_are_a_conflict(
    source: Source, tmp_path: Path
) -> None:
    stored = hashes(source, tmp_path)
    same = measure_source(Task(source, stored, other_root="/other"), tmp_path, 0.99)
    assert isinstance(same, Touched)
    write_image(tmp_path, source.name, seed=7)
    other = measure_source(Task(source, stored, other_root="/other"), tmp_path, 0.99)
    assert isinstance(other, Failure)
    assert other.code == "conflict"


def test_files_that_differ_were_added_or_were_removed_are_named(
    source: Source, tmp_path: Path
) -> None:
    stored = hashes(source, tmp_path)
    files, differing = compare_files(source, stored, tmp_path)
    assert ([file.role for file in files], differing) == ([file.role for file in source.files], ())
    del stored["blue"]
    changed = stored | {"red": "0" * 64, "nucleus_mask": "1" * 64}
    assert compare_files(source, changed, tmp_path)[1] == ("red", "blue", "nucleus_mask")


def test_a_file_that_cannot_be_read_cannot_be_compared(source: Source, tmp_path: Path) -> None:
    (tmp_path / source.files[0].uri).unlink()
    with pytest.raises(RejectedError):
        compare_files(source, {source.files[0].role: "0" * 64}, tmp_path)


@pytest.mark.parametrize("kind", ["python", "opencv"])
def test_too_little_memory_rejects_the_image(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def decode(source: Source, root: Path) -> NoReturn:
        if kind == "python":
            raise MemoryError
        error = cv2.error("no memory")
        error.code = cv2.Error.StsNoMem
        raise error

    monkeypatch.setattr(worker, "decode", decode)
    result = measure_source(Task(source, {}), tmp_path, 0.99)
    assert isinstance(result, Failure)
    assert (result.code, result.message) == (
        "memory",
        f"{source.name}: needs more memory than a worker may use; use fewer workers with -j",
    )


def test_another_error_of_opencv_is_a_bug(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(source: Source, root: Path) -> NoReturn:
        error = cv2.error("a bug")
        error.code = cv2.Error.StsBadArg
        raise error

    monkeypatch.setattr(worker, "decode", decode)
    with pytest.raises(cv2.error, match="a bug"):
        measure_source(Task(source, {}), tmp_path, 0.99)
