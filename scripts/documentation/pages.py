"""Where the pages are, and the folder that a reader of them works in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from scripts.documentation.examples import Ran, run_page

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
DOCS: Final = ROOT / "docs"
PAGES: Final = (README, *sorted(DOCS.glob("*.md")))


class World:
    """The folder of a reader who has followed the README's tour.

    Parameters
    ----------
    folder : Path
        An empty folder to work in.
    """

    def __init__(self, folder: Path) -> None:
        self.here = folder / "here"
        self._kept = folder / "kept"

    def tour(self) -> list[Ran]:
        """Follow the README in an empty folder, and keep what is there at its end."""
        self.here.mkdir()
        ran = run_page(README.read_text(encoding="utf-8"), self.here)
        shutil.copytree(self.here, self._kept)
        return ran

    def reset(self) -> None:
        """Have the folder again as it was at the end of the tour.

        The path stays the same, since a store remembers where its images are.
        """
        shutil.rmtree(self.here)
        shutil.copytree(self._kept, self.here)
