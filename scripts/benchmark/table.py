"""The one table of promised figures."""

from __future__ import annotations

from typing import Final

from scripts.benchmark import images, startup
from scripts.benchmark.figure import Row

ROWS: Final = (
    Row(
        "ingest",
        "ingest of an image, one worker, committed to SQLite ÷ decoding its five files",
        "ratio",
        1.6,
        1.3,
        images.ingest,
    ),
    Row("notebook", "the notebook's way ÷ ours, one core each", "times", 10, 15, images.against_notebook),
    Row("workers", "images a second of two workers ÷ of one", "times", 1.7, 1.8, images.two_workers),
    Row("help", "hpastore --help", "s", 0.3, 0.3, startup.show_help, checked=False),
    Row("status", "hpastore status", "s", 0.8, 0.8, startup.show_status, checked=False),
)
"""In the order of the promises; measured in the order of the cells that they need."""
