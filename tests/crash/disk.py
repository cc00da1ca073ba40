"""A process in a world of mounts of its own, where a small disk can be made without being root.

Reads one JSON document per line and writes exit code, stdout and stderr as JSON.  A document has the
``environment``, and either a ``command`` or the ``arguments`` of hpastore, which runs in a fork of this
process.
"""

from __future__ import annotations

import json
import subprocess
import sys

from tests.crash.runner import preload, trial


def main() -> None:
    preload()
    for line in sys.stdin:
        request = json.loads(line)
        answer = run_hpastore(**request) if "arguments" in request else run_command(**request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def run_hpastore(arguments: list[str], environment: dict[str, str]) -> list[object]:
    done = trial(arguments, environment, kill_after=None, site=None)
    return [done["code"], done["out"], done["err"]]


def run_command(command: list[str], environment: dict[str, str]) -> list[object]:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    return [done.returncode, done.stdout, done.stderr]


if __name__ == "__main__":
    main()
