"""The pages say what is true: their examples run, their tables are the program's, their links lead somewhere.

``scripts/docs`` writes outputs and tables again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hpastore
from hpastore.clean.recipe import parse_recipe
from hpastore.schema.clean_views import judge_all_sets
from hpastore.schema.views import LABEL_THRESHOLD, VIEWS
from scripts.documentation.examples import Ran, find_examples, matches, run_page, updated
from scripts.documentation.pages import DOCS, PAGES, README, ROOT, World
from scripts.documentation.tables import TABLES, commands, with_tables

TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
OTHERS = [page for page in PAGES if page != README]
SHARED = {"--db", "--json", "--quiet", "--version", "--help"}
OF_SCRIPTS = {"--quick", "--cleaning", "--write-docs", "--full"}


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def page(name: str) -> str:
    return TEXTS[DOCS / name]


# Examples


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, list[Ran]]:
    """The folder of a reader after the tour of the README, and what the tour printed."""
    world = World(tmp_path_factory.mktemp("reader"))
    return world, world.tour()


def check(ran: list[Ran]) -> None:
    for one in ran:
        assert not one.failed, f"{one.example.command}: exit code {one.code}\n{one.output}"
        if not one.agrees:
            assert one.output == one.example.shown, (
                f"{one.example.command}: scripts/docs writes it again"
            )


def test_the_tour_of_the_readme_prints_what_it_shows(reader: tuple[World, list[Ran]]) -> None:
    world, ran = reader
    check(ran)
    assert len(ran) > 10
    for name in ("hpastore.db", "overlay.png", "dropped.png", "hist.png", "mine.json"):
        assert (world.here / name).is_file()


@pytest.mark.parametrize("page", OTHERS, ids=named)
def test_the_examples_of_a_page_print_what_it_shows_right_after_the_tour(
    page: Path, reader: tuple[World, list[Ran]]
) -> None:
    world, _ = reader
    world.reset()
    ran = run_page(TEXTS[page], world.here)
    check(ran)
    assert len(ran) >= TEXTS[page].count("\n$ ")


PAGE = """
Save `hello.txt`:

```text
hello
```

```console
$ cat hello.txt
hello
$ ls *.txt ; false
hello.txt
$ echo $?
1
$ hpastore --version > version.txt
```

```python
name = "world"
```

```python
print(name)
```

```bash
cat version.txt nothing
```

```sh
exit 7
```
"""


def test_examples_are_run_in_their_order_and_those_that_fail_are_found(tmp_path: Path) -> None:
    ran = run_page(PAGE, tmp_path)
    assert [one.code for one in ran] == [0, 0, 1, 0, 0, 0, 0, 1]
    assert [one.failed for one in ran] == [False] * 7 + [True]
    assert all(one.agrees for one in ran)
    assert ran[6].output == "world\n"
    assert f"hpastore {hpastore.__version__}\ncat: nothing" in ran[7].output


def test_an_output_that_differs_is_written_again_without_moments_and_durations(
    tmp_path: Path,
) -> None:
    command = "echo at 2024-05-06 07:08:09, seconds  1.5"
    old = f"```console\n$ {command}\nanother\n$ echo a; echo b; echo c\na\n...\nc\n```\n"
    ran = run_page(old, tmp_path)
    assert [one.agrees for one in ran] == [False, True]
    new = updated(old, ran)
    assert new == old.replace("another\n", "at ..., seconds ...\n")
    assert updated(new, run_page(new, tmp_path)) == new


def test_dots_stand_for_any_text_and_nothing_else_does() -> None:
    assert matches("a ... c\n", "a b\nb c  \n\n")
    assert not matches("a ... c\n", "a b")
    assert not matches("a.c", "abc")


# Tables


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_tables_of_a_page_are_those_of_the_program(page: Path) -> None:
    assert with_tables(TEXTS[page]) == TEXTS[page], "scripts/docs writes it again"


def test_every_table_has_its_place() -> None:
    places = re.findall(r"<!-- scripts/docs writes: ([\w ]+) -->", "".join(TEXTS.values()))
    assert sorted(places) == sorted(TABLES)


def test_a_table_between_its_marks_is_replaced() -> None:
    text = "before\n<!-- scripts/docs writes: notes -->\nold\n<!-- end -->\nafter\n"
    new = with_tables(text)
    assert "old" not in new
    assert "| `empty_mask` | the cell mask is empty |\n" in new
    assert with_tables(new) == new


def test_a_column_is_named_once_for_all_channels_only_where_each_has_it() -> None:
    lines = {line.split("`")[1]: line for line in TABLES["views"]().splitlines()[2:]}
    assert "`CHANNEL_brenner`" in lines["cell_stats"]
    assert "`green_fraction_median`" in lines["label_summary"]


def test_every_view_and_reason_has_a_line() -> None:
    for view in VIEWS:
        assert f"| `{view.table.name}` | " in page("sql.md")
    judged = judge_all_sets(LABEL_THRESHOLD.table).compile(compile_kwargs={"literal_binds": True})
    reasons = set(re.findall(r"THEN '(\w+)'", str(judged)))
    assert {"no_background", "dark", "below_lower"} < reasons
    for reason in reasons:
        assert f"`{reason}`" in page("recipes.md")


def test_the_recipe_of_the_page_on_recipes_is_one() -> None:
    (text,) = [one.command for one in find_examples(page("recipes.md")) if one.file == "mine.toml"]
    recipe = parse_recipe(text).validated()
    assert (len(recipe.rules), len(recipe.rules_of(18))) == (4, 3)


def test_every_public_name_has_its_place_in_the_page_on_python() -> None:
    for name in hpastore.__all__:
        assert f"`{name}`" in page("python.md"), name


# Commands


def test_every_command_has_help_with_an_example() -> None:
    found = list(commands())
    assert len(found) > 15
    for name, command in found:
        assert f"Example: {name}" in command.help, name
        for parameter in command.params:
            if parameter.name != "help":
                assert getattr(parameter, "help", None), (name, parameter.name)


def options(command: Any) -> set[str]:
    return {option for p in command.params for option in (*p.opts, *p.secondary_opts)} | SHARED


def shown_commands(text: str) -> Iterator[str]:
    """Whatever a page shows that begins with hpastore: in its blocks of code, and within its sentences."""
    for block in re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from re.findall(r"^(?:\$ )?(hpastore (?!\d).*)$", block, re.MULTILINE)
    yield from re.findall(r"`(hpastore [^`]*)`", text)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_command_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    known = dict(commands())
    for shown in shown_commands(TEXTS[page]):
        words = re.sub(r"^hpastore (--db \S+ |--json )*", "hpastore ", shown).split()
        name = next((n for n in (" ".join(words[:3]), " ".join(words[:2])) if n in known), None)
        if name is None:
            assert words[1] in ("COMMAND", "--version"), shown
        else:
            given = {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)}
            assert given <= options(known[name]), shown


def test_every_option_that_a_page_names_exists() -> None:
    known = set().union(*(options(command) for _, command in commands()), OF_SCRIPTS)
    for page, text in TEXTS.items():
        without = re.sub(r"^```sh\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", without):
            assert option in known, (named(page), option)


# Links


def anchors(text: str) -> set[str]:
    """The names that headings get, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", TEXTS[page]):
        if not link.startswith("https://"):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.is_file(), link
            assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_index_has_a_line_for_each_page() -> None:
    for other in OTHERS:
        if other.name != "README.md":
            assert f"| [{other.name}]({other.name}) | " in page("README.md")
