"""Arguments that many functions take are checked in one way."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from hpastore.arguments import expanded, require_choice, require_share
from hpastore.errors import UsageError

Side = Literal["left", "right"]


def test_one_of_the_choices_is_taken_and_any_other_word_is_answered_with_all() -> None:
    require_choice("left", Side, "side")
    for word in ("Left", "", "left,right", None):
        with pytest.raises(UsageError) as caught:
            require_choice(word, Side, "side")
        assert str(caught.value) == f"invalid side {word!r} (choose from left, right)"


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_a_share_is_taken(value: float) -> None:
    require_share(value, "lower")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (98, "lower takes a share from 0 to 1, not 98; 98 % is 0.98"),
        (-0.1, "lower takes a share from 0 to 1, not -0.1"),
        (101, "lower takes a share from 0 to 1, not 101"),
        (float("nan"), "lower takes a share from 0 to 1, not nan"),
    ],
)
def test_what_is_no_share_is_refused(value: float, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        require_share(value, "lower")
    assert str(caught.value) == message


def test_a_tilde_is_the_home_of_a_user_who_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/data") == Path("/home/me/data")
    assert expanded("~nobody-has-this-name/data") == Path("~nobody-has-this-name/data")
