"""What an ingest writes, and what follows: images with all their rows, runs, failures.

Callers name a function by this package, such as ``write.write_image``, whichever module it is in.
"""

from __future__ import annotations

from hpastore.store.write.cell_labels import label_cells
from hpastore.store.write.failures import clear_failures, forget_tries, write_failures
from hpastore.store.write.images import delete_images, write_image
from hpastore.store.write.remeasured import remeasure_images
from hpastore.store.write.runs import (
    COUNTERS,
    adopt_settings,
    begin_run,
    count_run,
    finish_run,
    write_settings,
)
from hpastore.store.write.updates import (
    mark_gone,
    move_images,
    move_root,
    relabel_image,
    split_images,
    touch_image,
)

__all__ = [
    "COUNTERS",
    "adopt_settings",
    "begin_run",
    "clear_failures",
    "count_run",
    "delete_images",
    "finish_run",
    "forget_tries",
    "label_cells",
    "mark_gone",
    "move_images",
    "move_root",
    "relabel_image",
    "remeasure_images",
    "split_images",
    "touch_image",
    "write_failures",
    "write_image",
    "write_settings",
]
