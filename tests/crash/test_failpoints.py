"""A command that is ended at any named place leaves whole images, and the next run goes on."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

import hpastore
from hpastore.errors import SchemaMissingError, SchemaOldError
from tests.conftest import Figure, Trials
from tests.crash.conftest import MakeTemplate
from tests.crash.harness import Runner, damage, dump, neither_lost_nor_partial, today, yesterday
from tests.kernels.test_plugins import Packages
from tests.store.test_decoding import load
from tests.store.test_vacuum import leave_pages
from tests.world import dataset, name_of

PACKAGE = Path(hpastore.__file__).parent

CODES = {"kill": -9, "raise": 1, "full": 5}
"""How a command ends, by what the failpoint does; one that loses its connections goes on."""

ACTIONS = {"sqlite": ("kill", "raise", "full"), "postgresql": (*CODES, "lose")}

Fill = Callable[[str, str, Path], object]
"""Prepare a database, of a kind, and a folder."""


@dataclass(frozen=True)
class Scenario:
    """One command, and the world in which it runs."""

    arguments: tuple[str, ...]
    """The folder is put in for ``{}``."""
    fill: Fill
    ends: int = 0
    once: bool = False
    """Whether it must not run again where it was done."""
    leaves: Callable[[list[str] | None, list[str] | None, list[str]], bool] = (
        lambda now, before, after: now in (before, after)
    )
    """Whether a store may be so, by how it was before and how it shall be."""
    usual: tuple[str, ...] = ("",)
    """Beginnings of the places that are disturbed in a usual run too; another scenario has the others."""
    own: bool = False
    """Whether measures are installed that a user added."""

    def site(self, folder: Path) -> Path | None:
        """Give a folder of packages with measures, or None."""
        if not self.own:
            return None
        folder.mkdir()
        for kind in ("of_histogram", "of_crops"):
            Packages(folder).install(kind, code=MEASURE.format(kind))
        return folder


MEASURE = """
import hpastore
measure = hpastore.CustomMeasure("{0}", 1, "", "It", {0}=lambda *given: given[0].sum() / 3)
"""


def whole_images(now: list[str] | None, before: list[str] | None, after: list[str]) -> bool:
    return neither_lost_nor_partial(now or [], before or [], after) == []


def a_changed_root(url: str, database: str, folder: Path) -> None:
    del database
    yesterday(folder, url)
    today(folder)


def three_images(url: str, database: str, folder: Path) -> None:
    del database
    with hpastore.open_store(url, create=True) as store:
        hpastore.ingest(store, dataset(folder, 3), executor="serial")


def three_images_and_one_more(url: str, database: str, folder: Path) -> None:
    three_images(url, database, folder)
    dataset(folder, 4)


def a_moved_root(url: str, database: str, folder: Path) -> None:
    three_images(url, database, folder.with_name("before"))
    folder.with_name("before").rename(folder)


def imported_scores(url: str, database: str, folder: Path) -> None:
    """A version of a measure, and a file of another one."""
    three_images(url, database, folder)
    scores = folder / "scores.csv"
    with hpastore.open_store(url) as store:
        for value in (0.5, 0.25):
            rows = (f"{name_of(n)}:1,{value}\n" for n in range(3))
            scores.write_text("cell,value\n" + "".join(rows))
            if value == 0.5:
                hpastore.import_measure(store, scores, "prob", 1)


def an_empty_database(url: str, database: str, folder: Path) -> None:
    del url, database
    dataset(folder, 1)


def an_old_schema(url: str, database: str, folder: Path) -> None:
    folder.mkdir()
    load(url, "0001", database)
    if database == "sqlite":
        leave_pages(Path(str(make_url(url).database)))  # so that there is something to vacuum


REJECTED = 3
SERIAL = ("--executor", "serial")
SCENARIOS = {
    "ingest": Scenario(
        ("ingest", "{}", *SERIAL, "--prune", "--strict"),
        a_changed_root,
        ends=3,
        leaves=whole_images,
    ),
    "settings": Scenario(
        ("ingest", "{}", *SERIAL, "--background-percentile", "0.5"),
        three_images,
        leaves=whole_images,
    ),
    "measures": Scenario(
        ("ingest", "{}", *SERIAL),
        three_images_and_one_more,
        leaves=whole_images,
        usual=("image.measures_deleted", "image.cell_measures"),
        own=True,
    ),
    "moved": Scenario(
        ("ingest", "{}", *SERIAL, "--split", "train"), a_moved_root, usual=("root.", "images.split")
    ),
    "retry": Scenario(("retry",), a_changed_root),
    "clean": Scenario(("clean", "create", "new"), a_changed_root, once=True),
    "decide": Scenario(
        ("clean", "override", f"{name_of(0)}:1", f"{name_of(0)}:3", "--drop"),
        three_images,
        usual=("overrides.", "store."),
    ),
    "import": Scenario(
        ("measures", "import", "{}/scores.csv", "--name", "prob", "--version", "2"),
        imported_scores,
        usual=("import.",),
    ),
    "first": Scenario(
        ("ingest", "{}", *SERIAL),
        an_empty_database,
        leaves=whole_images,
        usual=("ingest.", "schema.", "run."),
    ),
    "upgrade": Scenario(("db", "upgrade"), an_old_schema),
}
OTHERS = {"output.", "folder.", "backup."}
"""Beginnings of places that do not concern a database."""


def state(url: str) -> list[str] | None:
    """What a store holds; None for one without the tables of this program."""
    try:
        return dump(url)
    except (SchemaMissingError, SchemaOldError):
        return None


def chosen(order: int, times: int, action: str, trials: Trials) -> Iterable[int]:
    """Which times a place is disturbed when it is reached: in a soak each, otherwise the last.

    In a full run places take turns: from one to the next with one of two exceptions, and with a lost
    connection every other.  In a quick run every tenth place is disturbed.
    """
    if trials(quick=0, full=0, soak=1):
        return range(1, times + 1)
    if trials(quick=1, full=0, soak=0):
        return [times] if order % 10 == 0 else []
    return [times] if action == "kill" or order % 2 == (action == "full") else []


IN_QUICK = {
    ("ingest", "sqlite", "kill"),
    ("ingest", "sqlite", "full"),
    ("ingest", "postgresql", "kill"),
    ("ingest", "postgresql", "raise"),
    ("ingest", "postgresql", "lose"),
    ("clean", "sqlite", "kill"),
    ("clean", "postgresql", "kill"),
    ("import", "sqlite", "kill"),
    ("import", "postgresql", "kill"),
}


def cases() -> Iterator[Any]:
    """In a quick run an ingest meets every action, and a command that is a single step is killed."""
    for name, (database, actions) in product(SCENARIOS, ACTIONS.items()):
        for action in actions:
            in_quick = (name, database, action) in IN_QUICK
            marks = [] if in_quick else [pytest.mark.full]
            yield pytest.param(
                name, database, action, id=f"{name}-{database}-{action}", marks=marks
            )


@pytest.mark.soak
@pytest.mark.parametrize(("name", "database", "action"), [*cases()], indirect=["database"])
def test_a_disturbed_command_leaves_the_state_before_or_after_and_goes_on(
    name: str,
    database: str,
    action: str,
    template: MakeTemplate,
    run: Runner,
    tmp_path: Path,
    figure: Figure,
    trials: Trials,
) -> None:
    scenario, root = SCENARIOS[name], tmp_path / "data"
    made = template(lambda url: scenario.fill(url, database, root))
    arguments = [argument.format(root) for argument in scenario.arguments]
    command = partial(run, site=scenario.site(tmp_path / "site"))
    with made.copy() as url:
        before = state(url)
        undisturbed = command(url, *arguments, failpoint="none:1:raise")
        assert undisturbed.code == scenario.ends, undisturbed.err
        after = dump(url)
    tried = 0
    reached = {
        place: times
        for place, times in undisturbed.reached.items()
        if trials(quick=0, full=0, soak=1) or place.startswith(scenario.usual)
    }
    for order, (place, times) in enumerate(reached.items()):
        for n in chosen(order, times, action, trials):
            with made.copy() as url:
                outcome = command(url, *arguments, failpoint=f"{place}:{n}:{action}")
                where = f"{place}:{n}:{action}\n{outcome.err}"
                # What an image is measured with may fail: that costs the image, until it is tried again.
                costs_image = place.startswith("measure.") and action in ("raise", "full")
                expected = REJECTED if costs_image else CODES.get(action, scenario.ends)
                assert outcome.code == expected, where
                if costs_image:
                    assert command(url, "retry").code == 0, where
                elif action == "full":
                    assert "no room left on the disk" in outcome.err.splitlines()[-1], where
                now = state(url)
                assert scenario.leaves(now, before, after), where
                assert damage(url) == [], where
                if not (scenario.once and now == after):
                    again = command(url, *arguments)
                    assert again.code == scenario.ends, where + again.err
                assert dump(url) == after, where
            tried += 1
    assert tried
    figure(f"failpoints: {name}, {database}, {action}: {tried} trials, {len(reached)} places")


EXPORTS = {"coco": "out.json", "images": "out"}


@pytest.mark.soak
@pytest.mark.parametrize(
    ("form", "action"),
    [
        ("coco", "kill"),
        ("images", "full"),
        pytest.param("coco", "full", marks=pytest.mark.full),
        pytest.param("images", "kill", marks=pytest.mark.full),
    ],
)
def test_a_disturbed_export_leaves_the_old_one_or_the_new_one(
    form: str,
    action: str,
    template: MakeTemplate,
    run: Runner,
    tmp_path: Path,
    figure: Figure,
    trials: Trials,
) -> None:
    made = template(lambda url: three_images(url, "", tmp_path / "data"))
    out = tmp_path / "exports" / EXPORTS[form]
    command = ["export", form, str(out), "--force", *(["-j", "1"] if form == "images" else [])]
    with made.copy() as url:
        assert run(url, *command, "--label", "16").code == 0
        old = contents(out)
        undisturbed = run(url, *command, failpoint="none:1:raise")
        assert undisturbed.code == 0, undisturbed.err
        new = contents(out)
        assert old != new
        tried = 0
        for order, (place, times) in enumerate(undisturbed.reached.items()):
            for n in range(1, times + 1) if order % trials(quick=8, full=1, soak=1) == 0 else []:
                assert run(url, *command, "--label", "16").code == 0
                outcome = run(url, *command, failpoint=f"{place}:{n}:{action}")
                where = f"{place}:{n}:{action}\n{outcome.err}"
                assert outcome.code == CODES[action], where
                absent = {} if place == "folder.aside" and action == "kill" else old
                assert contents(out) in (old, new, absent), where
                assert run(url, *command).code == 0, where
                assert contents(out) == new, where
                assert run(url, "verify", out).code == 0, where
                left = {path.name for path in out.parent.iterdir()}
                assert left <= {out.name, f"{out.name}.manifest.json"}, where
                tried += 1
    figure(
        f"failpoints: export {form}, {action}: {tried} trials at {len(undisturbed.reached)} places"
    )


def contents(out: Path) -> dict[str, bytes]:
    """The files of an export, without its manifest."""
    files = [out] if out.is_file() else out.rglob("*") if out.is_dir() else []
    return {path.name: path.read_bytes() for path in files if path.name != "manifest.json"}


@pytest.mark.full  # all commands once more
def test_each_place_is_reached_by_one_of_these_commands(
    template: MakeTemplate, database: str, run: Runner, tmp_path: Path
) -> None:
    reached = set()
    for name, scenario in SCENARIOS.items():
        root = tmp_path / name
        with template(lambda url: scenario.fill(url, database, root)).copy() as url:  # noqa: B023 called now
            arguments = [argument.format(root) for argument in scenario.arguments]
            site = scenario.site(tmp_path / f"{name}-site")
            reached |= set(run(url, *arguments, failpoint="none:1:raise", site=site).reached)
    of_a_file = {"schema.copied", "schema.backed_up", "schema.vacuum", "schema.vacuumed"}
    only = of_a_file if database == "postgresql" else set()
    assert {place for place in places() - reached if not place.startswith(tuple(OTHERS))} == only
    assert len(places()) >= 20


def places() -> set[str]:
    """All failpoints of the package."""
    return {
        str(node.args[0].value)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "failpoint"
        and isinstance(node.args[0], ast.Constant)
    }
