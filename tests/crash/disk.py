"""A process in a world of mounts of its own, where a small disk can be made without being root.

Reads one command per line, a JSON list, and writes its exit code, stdout and stderr as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        done = subprocess.run(
            request["command"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
            env=request["environment"],
        )
        sys.stdout.write(json.dumps([done.returncode, done.stdout, done.stderr]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
