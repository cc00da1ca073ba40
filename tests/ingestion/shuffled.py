"""The command line, but images are processed in an order drawn from a seed: SEED, then the arguments."""

from __future__ import annotations

import random
import sys
from typing import Any

from hpastore.cli.app import main
from hpastore.ingestion import run, tasks

if __name__ == "__main__":
    seed, *arguments = sys.argv[1:]
    in_order = tasks.make_tasks

    def shuffled(*given: Any) -> Any:
        made = in_order(*given)
        random.Random(int(seed)).shuffle(made)
        return made

    setattr(run, "make_tasks", shuffled)  # noqa: B010 its types are none of ours
    main(arguments)
