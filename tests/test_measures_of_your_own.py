"""The worked example of the README installs and runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
PIP = ("install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check")


def block(language: str) -> str:
    """The only block of code of a language in the README's chapter."""
    chapter = README.split("\n## Measures of your own\n")[1].split("\n## ")[0]
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", chapter, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the example is installed into."""
    source, target = tmp_path_factory.mktemp("my-measures"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(block("toml"))
    (source / "my_measures.py").write_text(block("py"))
    run(sys.executable, "-m", "pip", *PIP, "--target", target, source, cwd=source)
    return target


def run(*command: object, cwd: Path, site: Path | None = None) -> str:
    environment = os.environ | ({"PYTHONPATH": str(site)} if site else {})
    environment.pop("HPASTORE_DB", None)
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_worked_example_is_found_once_it_is_installed(site: Path, tmp_path: Path) -> None:
    code = "from hpastore.kernels.plugins import load_measures; print([m.name for m in load_measures()])"
    assert run(sys.executable, "-c", code, cwd=tmp_path, site=site) == "['offset', 'p99']\n"
    assert run(sys.executable, "-c", code, cwd=tmp_path) == "[]\n"


def test_the_worked_example_is_taken_of_each_cell_and_answers_in_sql(site: Path, tmp_path: Path) -> None:
    program = Path(sysconfig.get_path("scripts")) / "hpastore"
    run(program, "sample", "data", "-n", 2, "--size", 64, cwd=tmp_path)
    run(program, "ingest", "data", "-j", 1, "--executor", "process", cwd=tmp_path, site=site)
    found = json.loads(run(program, "sql", block("sql"), "--format", "json", cwd=tmp_path))
    assert found == expected(tmp_path / "data")
    assert len(found) > 10


def expected(root: Path) -> list[dict[str, Any]]:
    """What the example says of all cells, in the order of the query."""
    example: dict[str, Any] = {}
    exec(block("py"), example)
    rows = []
    for path in sorted((root / "hpa_cell_mask").iterdir()):
        green = np.asarray(cv2.imread(str(root / "train" / f"{path.stem}_green.png"), cv2.IMREAD_UNCHANGED))
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
