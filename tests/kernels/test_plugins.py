from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

import hpastore
from hpastore.errors import MeasureError
from hpastore.kernels.plugins import load_measures
from hpastore.store.engine import Store
from tests.world import dataset, name_of, rows

MODULE = """
import hpastore

def {function}(counts):
    {body}

measure = hpastore.CustomMeasure("{name}", 1, "", "What it is", of_histogram={function})
"""


class Packages:
    """Packages that are installed for one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self, package: str, *, name: str = "own", body: str = "return 0.0", code: str | None = None
    ) -> None:
        """Install a package whose module names one measure, or has the code given."""
        text = MODULE.format(function=f"of_{name}", name=name, body=body) if code is None else code
        (self.folder / f"{package}_code.py").write_text(text)
        info = self.folder / f"{package}-2.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.0\n")
        (info / "entry_points.txt").write_text(
            f"[hpastore.measures]\nmine = {package}_code:measure\n"
        )
        importlib.invalidate_caches()
        load_measures.cache_clear()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(
        "sys.dont_write_bytecode", True
    )  # one that is mended within a second is read anew
    load_measures.cache_clear()
    yield Packages(folder)
    load_measures.cache_clear()
    for path in folder.glob("*_code.py"):
        sys.modules.pop(path.stem, None)


def test_measures_of_all_packages_are_loaded_once_by_name(packages: Packages) -> None:
    assert load_measures() == ()
    packages.install("zoo", name="first")
    packages.install("abc", name="second")
    assert [measure.name for measure in load_measures()] == ["first", "second"]
    assert load_measures() is load_measures()


def test_what_a_package_prints_is_not_on_stdout(
    packages: Packages, capsys: pytest.CaptureFixture[str]
) -> None:
    packages.install(
        "abc", code="print('welcome')\n" + MODULE.format(function="f", name="own", body="return 0")
    )
    assert [measure.name for measure in load_measures()] == ["own"]
    assert capsys.readouterr() == ("", "welcome\n")


def test_two_measures_of_one_name_are_refused_with_both_packages(packages: Packages) -> None:
    packages.install("abc")
    packages.install("zoo")
    with pytest.raises(MeasureError) as refusal:
        load_measures()
    both = {f"mine = {package}_code:measure of {package} 2.0" for package in ("abc", "zoo")}
    found, fault = str(refusal.value).removeprefix("measure own: ").split(" have the same name; ")
    assert set(found.split(" and ")) == both
    assert fault == "rename one, or uninstall its package"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", "cannot be loaded (AttributeError: module 'abc_code' has no attribute 'measure')"),
        (
            "import nothing_such",
            "cannot be loaded (ModuleNotFoundError: No module named 'nothing_such')",
        ),
        ("1 / 0", "cannot be loaded (ZeroDivisionError: division by zero)"),
        ("raise SystemExit(0)", "cannot be loaded (SystemExit: 0)"),
        ("measure = 7", "it is of type int, and must be an hpastore.CustomMeasure"),
        (
            "measure = len",
            "it is of type builtin_function_or_method, and must be an hpastore.CustomMeasure",
        ),
        (
            MODULE.format(function="f", name="area", body="return 0"),
            "the name means something else in hpastore",
        ),
    ],
)
def test_a_package_without_a_measure_is_refused_by_its_name(
    packages: Packages, code: str, said: str
) -> None:
    packages.install("abc", code=code)
    with pytest.raises(MeasureError) as refusal:
        load_measures()
    assert str(refusal.value).startswith("measure mine = abc_code:measure of abc 2.0: ")
    assert said in str(refusal.value)


def test_an_image_that_a_measure_fails_on_is_rejected_and_the_others_are_stored(
    packages: Packages, store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path / "data", 3)  # of 3, 1 and 2 cells
    packages.install(
        "abc", body="return 1 / (int(counts.sum()) - 4 * 12)"
    )  # the third bar of the first image
    done = hpastore.ingest(store, root, executor="serial")
    assert (done.new, done.rejected) == (2, 1)
    (failure,) = rows(store, "SELECT image_name, code, message FROM failure")
    assert (failure["image_name"], failure["code"]) == (name_of(0), "measure")
    assert failure["message"] == (
        f"{name_of(0)}: measure own: cell 5 in red: ZeroDivisionError: division by zero; "
        "fix the measure, then run hpastore retry"
    )
    packages.install("abc")
    sys.modules.pop("abc_code")
    load_measures.cache_clear()
    hpastore.retry(store)
    done = hpastore.ingest(store, root, executor="serial")
    assert (done.new, done.rejected) == (1, 0)


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_a_package_that_cannot_be_loaded_stops_the_run_and_rejects_no_image(
    packages: Packages, tmp_path: Path, executor: Literal["serial", "process"]
) -> None:
    packages.install("abc", code="1 / 0")
    with hpastore.open_store(tmp_path / "cells.db", create=True) as store:
        with pytest.raises(
            MeasureError, match=r"^measure mine = abc_code:measure of abc 2.0: cannot be loaded"
        ):
            hpastore.ingest(store, dataset(tmp_path / "data", 1), executor=executor, jobs=1)
        assert rows(store, "SELECT image_name FROM failure") == []
