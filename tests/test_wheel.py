"""An installed hpastore works outside the checkout, and creates its schema itself."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = (
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--quiet",
        "--disable-pip-version-check",
    )
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, ROOT, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_the_migrations_and_nothing_of_the_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "hpastore/migrations/env.py" in names
    assert any(name.startswith("hpastore/migrations/versions/0001") for name in names)
    assert "hpastore/py.typed" in names
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"hpastore"}
    assert not any("__pycache__" in name for name in names)


@pytest.mark.full
def test_the_main_job_works_from_the_wheel_in_an_environment_of_its_own(
    wheel: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    site = Path(
        run(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path
        ).strip()
    )
    # Dependencies come from here, without the network; .pth files in there, such as that of a checkout
    # that is installed for editing, are not followed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    install = ("install", "--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, *install, wheel, cwd=tmp_path)
    where = run(python, "-c", "import hpastore; print(hpastore.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(environment)
    program = environment / "bin" / "hpastore"
    run(program, "sample", "data", "-n", 2, "--size", 64, cwd=tmp_path)
    done = json.loads(run(program, "--json", "ingest", "data", cwd=tmp_path))
    assert (done["new"], done["rejected"]) == (2, 0)
    run(program, "clean", "create", "mine", "--min-green", 0, cwd=tmp_path)
    run(program, "export", "coco", "mine.json", "--clean", "mine", cwd=tmp_path)
    assert json.loads((tmp_path / "mine.json").read_text())["annotations"]
    assert "nothing has drifted" in run(program, "db", "check", cwd=tmp_path)
