"""The README can be read at once."""

from __future__ import annotations

import re

from scripts.documentation.pages import README, ROOT

TEXT = README.read_text(encoding="utf-8")


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 150


def test_it_shows_one_small_picture() -> None:
    (picture,) = re.findall(r"!\[[^]]*\]\((.*?)\)", TEXT)
    data = (ROOT / picture).read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) < 200_000
