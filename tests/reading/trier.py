"""Read mutations one after the other in a process that may die of them; run by `test_mutations`.

A file gets the number of each mutation before that is read, so that it is known of which one the process
died; standard output what came of all, as JSON.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import re
import resource
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from hpastore.errors import InputError, RejectedError
from hpastore.reading import decode_gray, decode_mask, files, read_labels
from hpastore.vocabulary import FAILURE_CODES

from .drawing import strict_read
from .mutations import Mutant, mutant

Array = npt.NDArray[Any]

MEMORY = 2**30
SECONDS = 10


def main(kind: str, start: int, stop: int, step: int, folder: Path) -> None:
    limit = address_space() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    canary, place = (
        folder / "canary",
        os.open(place_of(kind, start, folder), os.O_WRONLY | os.O_CREAT),
    )
    wrong: list[str] = []
    came_of: Counter[str] = Counter()
    slowest = 0.0
    for n in range(start, stop, step):
        os.pwrite(place, b"%9d" % n, 0)
        file = mutant(kind, n, canary)
        faulthandler.dump_traceback_later(2 * SECONDS, exit=True)
        began = time.process_time()
        outcome, fault = TRY[kind](file, folder)
        slowest = max(slowest, time.process_time() - began)
        came_of[outcome] += 1
        wrong += [f"{kind} {n}: {fault}"] if fault else []
    faulthandler.cancel_dump_traceback_later()
    wrong += ["something was unpickled"] if canary.exists() else []
    print(json.dumps({"came_of": came_of, "wrong": wrong, "peak": peak(), "slowest": slowest}))


def place_of(kind: str, start: int, folder: Path) -> Path:
    """The file that holds the number of the mutation being read."""
    return folder / f"{kind}-{start}"


def peak() -> int:
    """Largest memory so far, in MB; the kernel's figure for children counts what they were forked from."""
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    ]
    return int(line.split()[1]) // 1000


def address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _try_png(file: Mutant, _: Path) -> tuple[str, str]:
    return _try(lambda: decode_gray(file.data, Path(file.name)), lambda: strict_read(file.data))


def _try_mask(file: Mutant, _: Path) -> tuple[str, str]:
    return _try(lambda: decode_mask(file.data, Path(file.name)), lambda: _mask_by_numpy(file))


def _try(ours: Callable[[], Array], theirs: Callable[[], Array | None]) -> tuple[str, str]:
    """What came of it, and what is wrong with that."""
    try:
        got = ours()
    except RejectedError as error:
        sound = error.code in FAILURE_CODES and str(error).isprintable()
        return error.code, "" if sound else f"a strange error: {error.code}, {error!s}"
    want = theirs()
    same = want is not None and got.dtype == want.dtype and np.array_equal(got, want)
    return "accepted", "" if same else "accepted, and not what the file holds"


def _mask_by_numpy(file: Mutant) -> Array | None:
    """What NumPy loads, as we promise to give it; None where it or zipfile finds fault."""
    try:
        return _load(file)
    except Exception:  # whatever they raise
        return None


def _load(file: Mutant) -> Array | None:
    if file.name.endswith(".png"):
        return strict_read(file.data, ids=True)
    loaded = np.load(io.BytesIO(file.data), allow_pickle=False)
    if file.name.endswith(".npy"):
        array = np.asarray(loaded)
    else:
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            names = archive.namelist()
            member = names[0] if len(names) == 1 else "arr_0.npy"
            archive.read(member)  # all of it, with its checksum
        array = np.asarray(loaded[member])
    if array.dtype == np.bool:
        return np.asarray(array.view(np.uint8) != 0, np.uint8)
    if (
        array.dtype.itemsize == 8
        and array.dtype.kind in "iu"
        and 0 <= array.min() <= array.max() < 2**32
    ):
        return np.asarray(array, np.uint32)
    return np.asarray(array, array.dtype.newbyteorder("="))


def _try_table(file: Mutant, folder: Path) -> tuple[str, str]:
    path = folder / f"{os.getpid()}.csv"
    path.write_bytes(file.data)
    try:
        got = read_labels(path)
    except InputError as error:
        return "refused", "" if str(error).isprintable() else "an error that cannot be printed"
    said = {failure.image_name for failure in got.failures}
    want = _labels_by_pandas(file.data)
    if {name: labels for name, labels in want.items() if name in got.labels} != dict(got.labels):
        return "accepted", "labels that the table does not hold"
    missing = (
        want.keys() - got.labels.keys() - {""}
    )  # which pandas makes of a stray carriage return
    return "accepted", "" if len(missing) <= len(said) else "rows that are neither taken nor failed"


def _labels_by_pandas(data: bytes) -> dict[str, tuple[int, ...] | None]:
    """Labels of each name in the table; None where its rows differ or make no sense."""
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig").lstrip(
        "\r\n"
    )
    head = re.split("[\r\n]", text, maxsplit=1)[0]
    headers = {separator: head.split(separator) for separator in "\t,;"}
    separator = next(
        s for s, names in headers.items() if {"ID", "Label"} <= {n.strip(' "') for n in names}
    )
    spaced = any(name.startswith(" ") for name in headers[separator])
    options: Any = {
        "dtype": str,
        "na_filter": False,
        "index_col": False,
        "skipinitialspace": spaced,
    }
    table = pd.read_csv(io.StringIO(text, newline=""), sep=separator, **options)
    table.columns = table.columns.str.strip(" ")
    labels: dict[str, tuple[int, ...] | None] = {}
    for name, text in zip(table["ID"].str.strip(" "), table["Label"], strict=True):
        parts = [re.sub(r"(?<=\d)\.0+$", "", part.strip(" ")) for part in text.split("|")]
        sound = all(part.isascii() and part.isdigit() and int(part) < 19 for part in parts)
        ids = tuple(sorted({int(part) for part in parts})) if sound else None
        labels[name] = ids if labels.setdefault(name, ids) == ids else None
    return labels


TRY = {"png": _try_png, "mask": _try_mask, "table": _try_table}

if __name__ == "__main__":
    pytest.MonkeyPatch().setattr(
        files, "_TICK_NS", 0
    )  # though a table was written this very moment
    which, first, last, stride, at = sys.argv[1:]
    main(which, int(first), int(last), int(stride), Path(at))
