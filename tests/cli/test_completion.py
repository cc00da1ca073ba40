"""The tab key completes commands, choices and the names of clean sets, and never shows an error."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hpastore.cli import completion
from hpastore.store.clean_sets import rows
from tests.cli.conftest import Run
from tests.world import dataset

pytestmark = pytest.mark.has_schema

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(run: Run, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """Give what the shell would offer for the last word of a line; nothing is printed besides."""

    def complete(*words: str) -> list[str]:
        with monkeypatch.context() as patch:
            patch.setenv("_HPASTORE_COMPLETE", "complete_bash")
            patch.setenv("COMP_WORDS", " ".join(("hpastore", *words)))
            patch.setenv("COMP_CWORD", str(len(words)))
            done = run()
        assert (done.code, done.err) == (0, "")
        return done.out.split()

    return complete


@pytest.fixture
def filled(run: Run, tmp_path: Path) -> None:
    assert run("ingest", dataset(tmp_path / "data", 2), "--executor", "serial").code == 0
    for name in ("mine", "mine", "more", "other"):
        assert run("clean", "create", name).code == 0


COMPLETED = [
    ("clean", "show", "m"),
    ("clean", "refresh", "m"),
    ("clean", "freeze", "m"),
    ("clean", "drop", "m"),
    ("clean", "drift", "m"),
    ("clean", "diff", "other", "m"),
    ("export", "coco", "out.json", "--clean", "m"),
    ("plot", "hist", "--clean", "m"),
    ("plot", "drift", "m"),
]


def test_clean_sets_are_completed_by_their_names(filled: None, complete: Complete) -> None:
    for words in COMPLETED:
        assert complete(*words) == ["mine", "more"], words


@pytest.mark.parametrize(
    "command", [("thresholds",), ("plot", "hist"), ("export", "coco", "a.json")]
)
def test_labels_are_completed_by_their_ids(
    filled: None, complete: Complete, command: tuple[str, ...]
) -> None:
    assert complete(*command, "--label", "1") == ["1", *map(str, range(10, 19))]


def test_the_store_may_be_named_before_the_command(
    filled: None,
    complete: Complete,
    empty_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HPASTORE_DB", str(tmp_path / "other.db"))
    assert complete("clean", "show", "m") == []
    assert complete("--db", empty_url, "clean", "show", "m") == ["mine", "more"]


def test_choices_are_completed(complete: Complete) -> None:
    assert complete("export", "coco", "a.json", "--multilabel", "") == ["expand", "skip"]
    assert complete("export", "mmdet", "a.pkl", "--multilabel", "m") == ["multihot"]
    assert complete("plot", "gallery", "--which", "near") == ["near-lower", "near-upper"]
    assert complete("clean", "create", "mine", "--scope", "") == ["single", "all"]
    assert complete("clean", "create", "mine", "--guard", "k") == ["keep"]
    assert complete("thresholds", "--channel", "b") == ["blue"]
    assert complete("expl") == ["explain"]


@pytest.mark.has_schema(False)
def test_without_a_store_nothing_is_completed_and_nothing_is_made(
    complete: Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "no.db"
    monkeypatch.setenv("HPASTORE_DB", str(path))
    assert complete("clean", "show", "") == []
    assert not path.exists()


@pytest.mark.parametrize("error", [TimeoutError, RuntimeError, OSError])
def test_a_store_that_cannot_be_read_is_silent(
    filled: None, complete: Complete, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(_: object) -> list[str]:
        raise error("a message that nobody must see")

    monkeypatch.setattr(rows, "clean_set_names", fail)
    assert complete("clean", "show", "m") == []


def test_a_store_that_does_not_answer_is_given_up(
    filled: None, complete: Complete, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer_too_late(_: object) -> list[str]:
        time.sleep(120)
        return ["mine"]

    monkeypatch.setattr(completion, "MAX_WAIT_S", 0.05)
    monkeypatch.setattr(rows, "clean_set_names", answer_too_late)
    assert complete("clean", "show", "m") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_program_gives_the_script_of_each_shell(
    run: Run, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("_HPASTORE_COMPLETE", f"source_{shell}")
    done = run()
    assert done.code == 0
    assert "_HPASTORE_COMPLETE" in done.out


def test_the_help_tells_how_to_install_it(run: Run) -> None:
    assert "hpastore --install-completion" in run("--help").out
