"""The worked example of the page on custom measures installs and runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Collection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "custom-measures.md").read_text(encoding="utf-8")
PROGRAM = Path(sysconfig.get_path("scripts")) / "hpastore"
PIP = (
    "install",
    "--no-deps",
    "--no-build-isolation",
    "--no-index",
    "--quiet",
    "--disable-pip-version-check",
)


def block(language: str, file: str = "") -> str:
    """The only block of code of a language, or of these the one that is saved to a file."""
    before = f"`{re.escape(file)}`[^\n]*:\n\n" if file else "^"
    (found,) = re.findall(rf"{before}```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def commands() -> list[str]:
    """What the page shows to be typed, in its order."""
    return re.findall(r"^hpastore .*$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the example is installed into."""
    source, target = tmp_path_factory.mktemp("my-measures"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(block("toml", "pyproject.toml"))
    (source / "my_measures.py").write_text(block("py"))
    run(sys.executable, "-m", "pip", *PIP, "--target", target, source, cwd=source)
    return target


def run(
    *command: object, cwd: Path, site: Path | None = None, codes: Collection[int] = (0,)
) -> str:
    environment = os.environ | ({"PYTHONPATH": str(site)} if site else {})
    environment.pop("HPASTORE_DB", None)
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout


def test_the_worked_example_is_found_once_it_is_installed(site: Path, tmp_path: Path) -> None:
    code = "from hpastore.kernels.plugins import load_measures; print([m.name for m in load_measures()])"
    assert run(sys.executable, "-c", code, cwd=tmp_path, site=site) == "['offset', 'p99']\n"
    assert run(sys.executable, "-c", code, cwd=tmp_path) == "[]\n"


def test_the_worked_example_is_taken_of_each_cell_and_answers_in_sql(
    site: Path, tmp_path: Path
) -> None:
    run(PROGRAM, "sample", "data", "-n", 2, "--size", 64, cwd=tmp_path)
    run(PROGRAM, "ingest", "data", "-j", 1, "--executor", "process", cwd=tmp_path, site=site)
    found = json.loads(run(PROGRAM, "sql", block("sql"), "--format", "json", cwd=tmp_path))
    assert found == expected(tmp_path / "data")
    assert len(found) > 10


def expected(root: Path) -> list[dict[str, Any]]:
    """What the example says of all cells, in the order of the query."""
    example: dict[str, Any] = {}
    exec(block("py"), example)
    rows = []
    for path in sorted((root / "hpa_cell_mask").iterdir()):
        green = np.asarray(
            cv2.imread(str(root / "train" / f"{path.stem}_green.png"), cv2.IMREAD_UNCHANGED)
        )
        with np.load(path) as file:
            mask = file["arr_0"]
        for mask_id in np.unique(mask[mask > 0]).tolist():
            inside = mask == mask_id
            box = cv2.boundingRect(inside.astype(np.uint8))
            window = np.s_[box[1] : box[1] + box[3], box[0] : box[0] + box[2]]
            offset = example["offset"](inside[window], {"green": green[window]})
            p99 = float(example["p99"](np.bincount(green[inside], minlength=256)))
            row = {"image": path.stem, "mask_id": mask_id}
            rows.append({**row, "measure": "offset", "channel": "", "value": offset})
            rows.append({**row, "measure": "p99", "channel": "green", "value": p99})
    return rows


@pytest.mark.full  # nine programs in a row
def test_the_commands_of_the_page_run_in_their_order(site: Path, tmp_path: Path) -> None:
    run(PROGRAM, "sample", "data", "-n", 2, "--size", 64, cwd=tmp_path)
    run(PROGRAM, "ingest", "data", "-j", 1, cwd=tmp_path)
    (tmp_path / "bright.toml").write_text(block("toml", "bright.toml"))
    shown = commands()
    assert len(shown) == 6
    for command in shown:
        codes = {0, 4} if command.startswith("hpastore plan") else {0}
        run(PROGRAM, *shlex.split(command)[1:], cwd=tmp_path, site=site, codes=codes)
    assert (
        json.loads(run(PROGRAM, "--json", "plan", "data", cwd=tmp_path, site=site))["unmeasured"]
        == []
    )
    assert (tmp_path / "p99.png").is_file()
