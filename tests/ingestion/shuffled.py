"""The command line, but images are looked at in an order drawn from a seed: SEED, then the arguments."""

from __future__ import annotations

import random
import sys
from typing import Any

from hpastore.cli.app import main
from hpastore.ingestion import run

if __name__ == "__main__":
    seed, *arguments = sys.argv[1:]
    in_order = run._tasks

    def shuffled(*given: Any) -> Any:
        tasks = in_order(*given)
        random.Random(int(seed)).shuffle(tasks)
        return tasks

    setattr(run, "_tasks", shuffled)  # noqa: B010 its types are none of ours
    main(arguments)
