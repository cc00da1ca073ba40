"""Bring the outputs and the tables of all pages up to date."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from scripts.documentation.examples import Ran, run_page, updated
from scripts.documentation.pages import PAGES, README, World
from scripts.documentation.tables import with_tables


def main() -> int:
    """Write all pages again; exit with 1 if an example fails."""
    failed = False
    with tempfile.TemporaryDirectory(prefix="hpastore-docs-") as folder:
        world = World(Path(folder))
        results = {README: world.tour()}
        for page in PAGES:
            if page != README:
                world.reset()
                results[page] = run_page(page.read_text(encoding="utf-8"), world.here)
        failed = _report(results)
    for page, ran in results.items():
        old = page.read_text(encoding="utf-8")
        new = with_tables(updated(old, ran))
        if new != old:
            page.write_text(new, encoding="utf-8")
            print(f"{page.name}: written again")
    return int(failed)


def _report(results: Mapping[Path, list[Ran]]) -> bool:
    """Print the examples that fail, and return whether there are any."""
    broken = [(page, one) for page, ran in results.items() for one in ran if one.failed]
    for page, one in broken:
        print(
            f"{page.name}: {one.example.command}: exit code {one.code}\n{one.output}",
            file=sys.stderr,
        )
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
