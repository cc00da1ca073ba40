"""A process that ends at any named place leaves whole images, and the next run goes on."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import hpastore
from hpastore.ingest.discover import Layout
from tests.crash.conftest import MakeTemplate
from tests.crash.harness import Outcome, Runner, Template, damage, dump, neither_lost_nor_partial
from tests.store.test_stored import load
from tests.world import dataset, draw_mask, name_of, write_image, write_table

PACKAGE = Path(hpastore.__file__).parent

CODES = {"kill": -9, "raise": 1, "full": 5}
"""How a command ends, by what the failpoint does."""

ACTIONS = (
    *(pytest.param("sqlite", action, id=f"sqlite-{action}") for action in ("kill", "raise", "full")),
    *(pytest.param("postgresql", action, id=f"postgresql-{action}") for action in (*CODES, "lose")),
)
everywhere = pytest.mark.parametrize(("database", "action"), ACTIONS, indirect=["database"])

PLACES: set[str] = set()
"""What the scenarios below have reached."""


def places() -> set[str]:
    """All failpoints of the package."""
    return {
        node.args[0].value
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "reach"
        and isinstance(node.args[0], ast.Constant)
    }


def yesterday(root: Path, url: str) -> None:
    """Fill a store: nine images, of which one is gone; two clean sets."""
    dataset(root, 9)
    layout = Layout(root)
    with hpastore.open_store(url, create=True) as store:
        hpastore.ingest(store, layout, executor="serial")
        hpastore.create_clean_set(store, "mine")
        write_table(root, {name_of(i): "0" if i < 7 else "16" for i in range(8)})
        hpastore.ingest(store, layout, executor="serial")


def today(root: Path) -> None:
    """Change the inputs in every way."""
    labels = {name_of(i): "0" if i < 7 else "16" for i in range(1, 12)}
    write_image(root, name_of(9), seed=9)
    write_image(root, name_of(10), seed=10, mask=draw_mask(5))
    write_image(root, name_of(11), seed=11)
    write_image(root, name_of(1), seed=91, mask=draw_mask(4))
    os.utime(root / "train" / f"{name_of(2)}_red.png", ns=(10**18, 10**18))
    labels[name_of(3)] = "7|16"
    (root / "train" / f"{name_of(4)}_blue.png").write_bytes(b"no picture")
    (root / "train" / f"{name_of(11)}_blue.png").write_bytes(b"no picture")
    write_table(root, labels)


@pytest.fixture
def changed(template: MakeTemplate, tmp_path: Path) -> tuple[Template, Path]:
    """A store of yesterday, and the inputs of today."""
    root = tmp_path / "data"
    made = template(lambda url: yesterday(root, url))
    today(root)
    return made, root


class Scenario:
    """One command, disturbed at every place that it reaches, each time that it reaches it."""

    def __init__(self, run: Runner, template: Template, *arguments: object, ends: int = 0) -> None:
        self.run, self.template, self.arguments, self.ends = run, template, arguments, ends
        self.trials = 0

    def disturb(self, action: str, check: Callable[[str, Outcome, str], None]) -> None:
        """Run the trials, and check each store and then what one more run makes of it."""
        with self.template.copy() as url:
            undisturbed = self.run(url, *self.arguments, failpoint="none:1:raise")
            assert undisturbed.code == self.ends, undisturbed.err
            expected = dump(url)
        PLACES.update(undisturbed.reached)
        for place, times in undisturbed.reached.items():
            for n in range(1, times + 1):
                with self.template.copy() as url:
                    outcome = self.run(url, *self.arguments, failpoint=f"{place}:{n}:{action}")
                    where = f"{place}:{n}:{action}\n{outcome.err}"
                    assert outcome.code == CODES.get(action, self.ends), where
                    check(url, outcome, where)
                    assert damage(url) == [], where
                    again = self.run(url, *self.arguments)
                    assert again.code == self.ends, where + again.err
                    assert dump(url) == expected, where
                self.trials += 1
        print(f"{self.arguments[0]}: {self.trials} trials at {len(undisturbed.reached)} places, {action}")


@everywhere
def test_an_ingest_is_disturbed(changed: tuple[Template, Path], run: Runner, action: str) -> None:
    template, root = changed
    arguments = ("ingest", root, "--executor", "serial", "--prune")
    with template.copy() as url:
        before = dump(url)
        assert run(url, *arguments).code == 3
        after = dump(url)

    def check(url: str, outcome: Outcome, where: str) -> None:
        assert neither_lost_nor_partial(dump(url), before, after) == [], where
        if action == "full":
            assert "no room left on the disk" in outcome.err.splitlines()[-1], where

    Scenario(run, template, *arguments, ends=3).disturb(action, check)


@everywhere
def test_a_change_of_the_recipe_is_disturbed(
    template: MakeTemplate, run: Runner, tmp_path: Path, action: str
) -> None:
    root = tmp_path / "data"

    def fill(url: str) -> None:
        with hpastore.open_store(url, create=True) as store:
            hpastore.ingest(store, dataset(root, 3), executor="serial")

    made = template(fill)
    arguments = ("ingest", root, "--executor", "serial", "--background-percentile", "0.5")
    with made.copy() as url:
        before = dump(url)
        run(url, *arguments)
        after = dump(url)

    def check(url: str, _: Outcome, where: str) -> None:
        assert neither_lost_nor_partial(dump(url), before, after) == [], where

    Scenario(run, made, *arguments).disturb(action, check)


@everywhere
def test_a_clean_set_is_disturbed(changed: tuple[Template, Path], run: Runner, action: str) -> None:
    template, _ = changed
    with template.copy() as url:
        before = dump(url)

    def check(url: str, _: Outcome, where: str) -> None:
        # Either it is there with its number, or it is not; `again` would make a second one.
        if action != "lose":
            with hpastore.open_store(url) as store:
                made = hpastore.clean_sets(store)
            assert list(zip(made["name"], made["version"], strict=True)) in (
                [("mine", 1)],
                [("mine", 1), ("new", 1)],
            ), where
            if len(made) == 1:
                assert dump(url) == before, where

    scenario = Scenario(run, template, "clean", "create", "new")
    with template.copy() as url:
        reached = run(url, *scenario.arguments, failpoint="none:1:raise").reached
    PLACES.update(reached)
    for place, times in reached.items():
        for n in range(1, times + 1):
            with template.copy() as url:
                outcome = run(url, *scenario.arguments, failpoint=f"{place}:{n}:{action}")
                assert outcome.code == CODES.get(action, 0), outcome.err
                check(url, outcome, f"{place}:{n}:{action}")
                assert damage(url) == []


@pytest.mark.parametrize("action", ["kill"])
def test_a_first_ingest_is_killed(template: MakeTemplate, run: Runner, tmp_path: Path, action: str) -> None:
    root = dataset(tmp_path / "data", 1)
    empty = template(lambda url: None)

    def check(url: str, _: Outcome, where: str) -> None:
        pass  # there may be no store yet

    Scenario(run, empty, "ingest", root, "--executor", "serial").disturb(action, check)


@pytest.mark.parametrize("action", ["kill"])
def test_an_upgrade_is_killed(template: MakeTemplate, run: Runner, database: str, action: str) -> None:
    old = template(lambda url: load(url, "0001", database))

    def check(url: str, _: Outcome, where: str) -> None:
        current = run(url, "db", "current")
        assert current.code in (0, 4), where  # the new schema, or the old one

    Scenario(run, old, "db", "upgrade").disturb(action, check)


def test_every_place_is_one_of_those_above() -> None:
    """Runs last in this file, on one worker: the file is one group."""
    assert len(places()) >= 20
    assert places() - PLACES == set()
