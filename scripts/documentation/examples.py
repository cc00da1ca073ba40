"""The examples of a page: found in its text, run, and compared with what it shows.

- ``console``: commands after ``$`` and what they print; ``...`` stands for any text.
- ``bash``: commands whose output is not shown.
- ``python``: run as it stands.
- ``sql``: one query, for ``hpastore sql``; a block of ``text`` right after it is what it prints.
- ``sh``: not run; for what installs software or needs a server.
- any other block after a line that ends in a file's name in backquotes and a colon is saved to
  that file.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from hpastore.cli import app

_BLOCK: Final = re.compile(
    r"(?:^(?P<before>[^\n]*)\n\n?)?^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.M | re.S
)
_RESULT: Final = re.compile(r"\n\n```text\n(?P<shown>.*?)^```$", re.M | re.S)
_FILE: Final = re.compile(r"`([\w.-]+)`:$")
_EXIT_CODE: Final = "echo $?"

_CHANGES: Final = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|(?<=seconds)( +)[\d.]+|/\S*(?=/here/)/here"
)
"""What differs from run to run: moments, durations, and where the reader's folder is."""


@dataclass(frozen=True)
class Example:
    """One thing that a reader does.

    Parameters
    ----------
    kind : str
        ``command``, ``python``, ``sql`` or ``file``.
    command : str
        A command line, a program, a query, or the content of the file.
    shown : str, optional
        What the page says that it prints; None if it does not say.
    span : tuple of int
        Where in the page's text this stands.
    file : str
        The name of the file to save.
    """

    kind: str
    command: str
    shown: str | None = None
    span: tuple[int, int] = (0, 0)
    file: str = ""


@dataclass(frozen=True)
class Ran:
    """An example and what came of it."""

    example: Example
    code: int
    output: str
    explained: bool = False
    """Whether the page shows the exit code, which then may be another than 0."""

    @property
    def failed(self) -> bool:
        """Whether a reader would be surprised that it fails."""
        return self.code != 0 and not self.explained

    @property
    def agrees(self) -> bool:
        """Whether it printed what the page shows."""
        return self.example.shown is None or matches(self.example.shown, self.output)


def find_examples(page: str) -> Iterator[Example]:
    """Find what a reader of a page does, in the order of the page."""
    for block in _BLOCK.finditer(page):
        language, body, start = block["language"], block["body"], block.start("body")
        file = _FILE.search(block["before"] or "")
        if language == "console":
            yield from _console(body, start)
        elif language == "bash":
            yield from (Example("command", line) for line in body.splitlines())
        elif language == "python":
            yield Example("python", body)
        elif language == "sql":
            yield _query(body, _RESULT.match(page, block.end()))
        elif file:
            yield Example("file", body, file=file[1])


def _console(body: str, start: int) -> Iterator[Example]:
    """Split a block at its commands."""
    for found in re.finditer(r"^\$ (?P<command>.*)\n(?P<shown>(?:(?!\$ ).*\n)*)", body, re.M):
        begin, end = found.span("shown")
        yield Example("command", found["command"], found["shown"], (start + begin, start + end))


def _query(body: str, result: re.Match[str] | None) -> Example:
    if result is None:
        return Example("sql", body)
    return Example("sql", body, result["shown"], result.span("shown"))


def run_page(page: str, folder: Path) -> list[Ran]:
    """Do in a folder what a page shows, one thing after the other.

    Parameters
    ----------
    page : str
        Its text.
    folder : Path

    Returns
    -------
    list of Ran
    """
    done: list[Ran] = []
    names: dict[str, object] = {}
    with chdir(folder), _environment():
        for example in find_examples(page):
            if example.command == _EXIT_CODE:
                last = done.pop()
                done.append(Ran(last.example, last.code, last.output, explained=True))
                done.append(Ran(example, 0, f"{last.code}\n"))
            else:
                done.append(_run(example, names))
    return done


def matches(shown: str, output: str) -> bool:
    """Whether an output is what a page shows, in which ``...`` stands for any text."""
    pieces = map(re.escape, _trimmed(shown).split("..."))
    return re.fullmatch(".*?".join(pieces), _trimmed(output), re.S) is not None


def updated(page: str, ran: Sequence[Ran]) -> str:
    """Put the outputs of a page's examples in place of what it shows, where they differ."""
    for one in reversed(ran):
        if not one.agrees and not one.failed:
            start, end = one.example.span
            page = page[:start] + _CHANGES.sub(_elided, _trimmed(one.output)) + page[end:]
    return page


def _elided(found: re.Match[str]) -> str:
    return f"{found[1] or ''}..."


def _trimmed(text: str) -> str:
    """Leave out blanks at the ends of lines and blank lines at the end."""
    lines = "\n".join(line.rstrip() for line in text.splitlines()).rstrip()
    return f"{lines}\n" if lines else ""


def _run(example: Example, names: dict[str, object]) -> Ran:
    if example.kind == "file":
        Path(example.file).write_text(example.command, encoding="utf-8")
        return Ran(example, 0, "")
    if example.kind == "python":
        return _captured(example, lambda: exec(example.command, names))
    if example.kind == "sql":
        return _captured(example, lambda: app.main(["sql", example.command]))
    if example.command.startswith("hpastore "):
        return _hpastore(example)
    shell = ["bash", "-c", example.command]
    done = subprocess.run(
        shell, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return Ran(example, done.returncode, done.stdout)


def _hpastore(example: Example) -> Ran:
    """Run hpastore in this process, which takes a tenth of the time of a new one."""
    arguments = shlex.split(example.command)[1:]
    target = None
    if ">" in arguments:
        arguments, (target,) = (
            arguments[: arguments.index(">")],
            arguments[arguments.index(">") + 1 :],
        )
    ran = _captured(example, lambda: app.main(arguments))
    if target is None:
        return ran
    Path(target).write_text(ran.output, encoding="utf-8")
    return Ran(example, ran.code, "")


def _captured(example: Example, run: Callable[[], object]) -> Ran:
    """Run something, and collect what it prints, as a terminal would show it."""
    output, code = StringIO(), 0
    with redirect_stdout(output), redirect_stderr(output):
        try:
            run()
        except SystemExit as stop:
            code = int(stop.code or 0)
        except Exception:
            traceback.print_exc()
            code = 1
    return Ran(example, code, output.getvalue())


@contextmanager
def _environment() -> Iterator[None]:
    """Have the environment of a reader who has activated the one that hpastore is installed in."""
    before = dict(os.environ)
    handlers = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    os.environ.pop("HPASTORE_DB", None)
    os.environ["PATH"] = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
