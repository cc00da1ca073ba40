"""One module decides which OpenCV is used, and says what to do about any other."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import hpastore
from hpastore.errors import InstallationError
from hpastore.runtime.opencv import OLDEST, require_usable
from tests.world import dataset

PACKAGE = Path(hpastore.__file__).parent
ROOT = PACKAGE.parent

BROKEN = {
    "no libGL": 'raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")',
    "a mixture": "import cv2; cv2.gapi",
    "older": "__version__ = '4.12.0'\ndef imdecode(): pass",
    "no content": "",
}
SAYS = {
    "no libGL": "libGL.so.1: cannot open shared object file",
    "a mixture": "has no attribute 'gapi'",
    "older": "the module cv2 is OpenCV 4.12.0; hpastore needs 5.0 or newer",
    "no content": "OpenCV (cv2) is installed without its content",
}

WITHOUT_PIXELS = [
    *("--help", "status", "failures", "runs", "measures", "sql VALUES(1)", "dump --canonical"),
    *(
        "db check",
        "db current",
        "db backup copy.db",
        "doctor --deep",
        "clean overrides",
        "clean diff mine mine",
    ),
    *("thresholds", "clean create other", "clean list", "clean show other", "clean refresh other"),
    *("clean drift", "clean drop other"),
    *(
        "export csv cells.csv",
        "export coco cells.json",
        "export mmdet cells.pkl",
        "verify cells.json",
    ),
]
"""Commands that ask or export what is stored, in an order that works."""


def imports_cv2(path: Path) -> bool:
    """Whether a module imports cv2 when it runs; its types are for the type checker alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    return "cv2" in names


def test_no_other_module_imports_it() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if imports_cv2(path)
    }
    assert found == {"runtime/opencv.py"}


def test_its_oldest_version_is_that_of_the_package() -> None:
    wanted = f'"opencv-python>={OLDEST[0]}.{OLDEST[1]}"'
    assert wanted in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", ["5.0.0", "5.1.0-dev", "10.2"])
def test_a_newer_version_is_taken(version: str) -> None:
    module = SimpleNamespace(__version__=version, imdecode=print)
    require_usable(module)
    del module.imdecode
    with pytest.raises(InstallationError, match="without its content"):
        require_usable(module)


def run(tmp_path: Path, kind: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command where a module cv2 that cannot be used is found first."""
    database = str(tmp_path / "cells.db")
    return run_program(tmp_path, kind, ["-m", "hpastore", "--db", database, *map(str, arguments)])


def run_program(
    tmp_path: Path, kind: str, arguments: list[str]
) -> subprocess.CompletedProcess[str]:
    (tmp_path / "cv2").mkdir(exist_ok=True)
    (tmp_path / "cv2" / "__init__.py").write_text(BROKEN[kind])
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=env,
        cwd=tmp_path,
        check=False,
    )


@pytest.mark.parametrize("kind", BROKEN)
def test_one_that_cannot_be_used_is_one_line_with_what_to_do(tmp_path: Path, kind: str) -> None:
    data = dataset(tmp_path / "data", 1)
    for command in (["ingest", data, "-j", 2], ["sample", tmp_path / "drawn", "-n", 1]):
        done = run(tmp_path, kind, *command)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert SAYS[kind] in done.stderr
        assert "pip install --no-deps --force-reinstall 'opencv-python" in done.stderr
        assert ("apt-get install libgl1 libglib2.0-0" in done.stderr) == (kind == "no libGL")
    assert not (tmp_path / "cells.db").exists()
    assert not (tmp_path / "drawn").exists()


ALL_IN_ONE_PROCESS = """
import sys
from hpastore.cli.app import main

for line in sys.argv[1:]:
    try:
        main(line.split(" "))
    except SystemExit as end:
        assert not end.code, (line, end.code)
assert "hpastore.store.engine" in sys.modules
try:
    import cv2
except ImportError:
    sys.exit(0)
sys.exit("cv2 can be loaded here, so nothing was shown")
"""
"""Where cv2 cannot be loaded, each attempt to import it fails anew."""


def test_commands_without_pixels_need_none(tmp_path: Path) -> None:
    with hpastore.open_store(tmp_path / "cells.db", create=True) as store:
        hpastore.ingest(store, dataset(tmp_path / "data", 1), executor="serial")
        hpastore.create_clean_set(store, "mine")
        query = "SELECT image_name || ':' || mask_id AS cell FROM cell_stats"
        (first,) = hpastore.query(store, query).rows[0]
    lines = [
        f"--db {tmp_path / 'cells.db'} {line}" for line in (*WITHOUT_PIXELS, f"explain {first}")
    ]
    done = run_program(tmp_path, "no libGL", ["-c", ALL_IN_ONE_PROCESS, *lines])
    assert done.returncode == 0, done.stderr
