"""Clean sets from the user's chair: recipes in files, versions, decisions, and why."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from hpastore.clean.recipe import load_recipe, shipped
from hpastore.clean.rules import CleanRecipe
from tests.cli.conftest import Run
from tests.world import dataset, draw_mask, name_of, write_image

pytestmark = pytest.mark.has_schema

RECIPE = """
guard = "keep"
min_cells = 2
[[rule]]  # as in the notebook
measure = "fraction"
channel = "green"
lower = {percentile = 0.1}
upper = {percentile = 0.9}
[[rule]]
measure = "touches_border"
[label.Cytosol]
[[label.Cytosol.rule]]
name = "small"
measure = "area"
lower = {median = 0.9}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dataset(tmp_path / "data", 5)


def test_a_recipe_in_a_file_makes_a_set_and_is_kept_as_it_was_written(
    run: Run, root: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE, encoding="utf-8")
    run("ingest", root, "--executor", "serial")
    made = run("--json", "clean", "create", "mine", "--recipe", path)
    assert (made.code, made.json["version"]) == (0, 1)
    assert run("clean", "show", "mine", "--recipe").out == RECIPE
    rules = run(
        "--json", "sql", "SELECT DISTINCT position, measure, reason, shown FROM clean_rule"
    ).json
    assert sorted((r["position"], r["measure"], r["reason"]) for r in rules) == [
        (1, "fraction", None),
        (2, "touches_border", "touches_border"),
        (3, "area", "small"),
    ]
    again = run(
        "clean", "create", "mine", "--recipe", path, "--scope", "all", "--min-green", 0, "--frozen"
    )
    assert again.code == 0
    said = load_recipe_from(run, tmp_path)
    assert (said.scope, said.min_green, said.min_cells, said.guard) == ("all", 0, 2, "keep")
    assert run("--json", "clean", "list").json[1]["frozen"] is True


@pytest.mark.full  # the largest recipe takes seconds
def test_a_recipe_may_have_as_many_rules_as_it_may(run: Run, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    rules = (
        f'[[rule]]\nmeasure = "area"\nname = "r{n}"\nlower = {{value = {n / 1000}}}\n'
        for n in range(500)
    )
    path.write_text("\ufeff" + "".join(rules), encoding="utf-8")
    run("ingest", root, "--executor", "serial", "--limit", 1)
    assert run("clean", "create", "long", "--recipe", path).code == 0
    rows = run("--json", "sql", "SELECT clean, live, reason, lower FROM clean_cell_live").json
    assert rows
    assert all(row["clean"] and row["live"] for row in rows)


def test_a_recipe_has_rules_for_every_label_and_none_for_all(
    run: Run, root: Path, tmp_path: Path
) -> None:
    path = tmp_path / "own.toml"
    of_all = '[[rule]]\nname = "general"\nmeasure = "area"\nlower = {value = 1000000}\n'
    own = (
        f'[[label.{n}.rule]]\nname = "own"\nmeasure = "area"\nlower = {{value = 1}}\n'
        for n in range(19)
    )
    path.write_text(
        'min_green = 0\nlabel_sections = "replace"\n' + of_all + "".join(own), encoding="utf-8"
    )
    run("ingest", root, "--executor", "serial")
    made = run("--json", "clean", "create", "own", "--recipe", path).json
    assert made["clean"] == made["cells"] > 0
    assert run("--json", "sql", "SELECT DISTINCT reason FROM clean_rule").json == [
        {"reason": "own"}
    ]
    assert len(run("--json", "sql", "SELECT 1 FROM clean_cell").json) == made["cells"]


def test_a_label_without_rules_is_shown_without_a_measure(
    run: Run, root: Path, tmp_path: Path
) -> None:
    path = tmp_path / "some.toml"
    rule = '[[rule]]\nmeasure = "fraction"\nchannel = "green"\nlower = {percentile = 0.1}\n'
    path.write_text(f"{rule}[label.0]\nrule = []\n", encoding="utf-8")
    run("ingest", root, "--executor", "serial")
    assert run("clean", "create", "some", "--recipe", path).code == 0
    shown = run("clean", "show", "some")
    assert shown.code == 0
    assert "Nucleoplasm" in shown.out
    assert "green fraction" in shown.out


def test_verdicts_on_cells_that_are_no_more_are_listed_apart(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    made = run("--json", "clean", "create", "mine", "--recipe", "hpa").json
    assert all(
        type(row["n"]) in (int, type(None)) for row in run("--json", "clean", "show", "mine").json
    )
    write_image(root, name_of(0), seed=99, mask=draw_mask(2))
    run("ingest", root, "--executor", "serial")
    (row,) = run("--json", "clean", "list").json
    assert (row["cells"], row["archived"]) == (made["cells"] - 3, 3)


@pytest.mark.parametrize(
    "command",
    [
        ("clean", "override", f"{name_of(0)}:1", "--keep", "--comment", "\udcff"),
        ("clean", "override", f"{name_of(0)}:1", "--keep", "--author", "\udcff"),
        ("clean", "show", "x\udcff"),
        ("clean", "diff", "x\udcff", "mine"),
        ("explain", "x\udcff:1"),
    ],
)
def test_what_is_not_utf_8_is_refused(run: Run, root: Path, command: tuple[str, ...]) -> None:
    run("ingest", root, "--executor", "serial", "--limit", 1)
    run("clean", "create", "mine")
    refused = run(*command)
    assert refused.code in (1, 2)
    assert refused.err.count("\n") == 1
    assert any(
        words in refused.err for words in ("not UTF-8", "not valid UTF-8", "invalid cell name")
    )


def test_show_says_per_label_why_cells_were_dropped(run: Run) -> None:
    run("sample", "data", "-n", 8, "--size", 128)
    run("ingest", "data", "--executor", "serial")
    run("clean", "create", "mine", "--recipe", "hpa", "--min-cells", 1)
    shown = run("clean", "show", "mine")
    query = "SELECT label, reason, count(*) AS n FROM clean_cell WHERE {} GROUP BY label, reason"
    counts = run("--json", "sql", query.format("NOT clean")).json
    assert len(counts) > len({row["label"] for row in counts})
    for row in counts:
        line = next(line for line in shown.out.splitlines() if f"  {row['label']}  " in line)
        assert f"{row['reason']} {row['n']}" in line.split("  ")[-1].split(", ")
    clean = sum(row["n"] for row in run("--json", "sql", query.format("clean")).json)
    assert shown.err == f"{clean} of {clean + sum(r['n'] for r in counts)} verdicts are clean\n"


def load_recipe_from(run: Run, folder: Path) -> CleanRecipe:
    path = folder / "said.toml"
    path.write_text(run("clean", "show", "mine", "--recipe").out, encoding="utf-8")
    return load_recipe(path)


def test_shipped_recipes_are_listed_printed_and_can_be_used(run: Run, root: Path) -> None:
    assert run("--json", "clean", "recipe").json == shipped() == ["hpa", "notebook"]
    run("ingest", root, "--executor", "serial")
    for name in shipped():
        load_recipe(name).validated()
        assert run("clean", "recipe", name).out == load_recipe(name).text
        assert run("clean", "create", name, "--recipe", name).code == 0
    counts = [(row["name"], row["rules"]) for row in run("--json", "clean", "list").json]
    assert counts[0][1] > 5
    assert counts[1] == ("notebook", 1)
    plain = run("--json", "clean", "create", "plain").json
    assert plain == run("--json", "clean", "create", "notebook", "--recipe", "notebook").json | {
        "name": "plain",
        "version": 1,
    }


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            "scop = 1",
            2,
            (
                "no key 'scop' (choose from scope, min_green, min_cells, small_labels, guard, "
                "label_sections, rule, label, negative_class)"
            ),
        ),
        ('scope = "some"', 2, "invalid scope 'some' (choose from single, all)"),
        ("min_green = 1.5", 2, "min_green must be a whole number, not 1.5"),
        ("min_green = true", 2, "min_green must be a whole number, not True"),
        ("min_green = 300", 2, "invalid min_green 300; use a grey level from 0 to 256"),
        ('guard = "drop"', 2, "invalid guard 'drop' (choose from report, keep)"),
        ("rule = 1", 2, "rule must be a list, not 1"),
        ("[[rule]]", 2, "a rule has no measure"),
        ('[[rule]]\nmeasure = "size"\nlower = {value = 1}', 2, "no measure 'size'; there are "),
        (
            '[[rule]]\nmeasure = "area"',
            2,
            "the rule on area has neither a lower nor an upper bound",
        ),
        ('[[rule]]\nmeasure = "area"\nlower = 3', 2, "lower must be a table, not 3"),
        (
            '[[rule]]\nmeasure = "area"\nlower = {percent = 3}',
            2,
            "no kind of lower bound 'percent'",
        ),
        ('[[rule]]\nmeasure = "area"\nlower = {value = 3, median = 1}', 2, "a bound is one of"),
        (
            '[[rule]]\nmeasure = "area"\nlower = {value = "3"}',
            2,
            "invalid value '3' of a bound; use a number",
        ),
        ('[[rule]]\nmeasure = "area"\nlower = {percentile = 98}', 2, "98 % is 0.98"),
        (
            '[[rule]]\nmeasure = "area"\nlower = {value = 3}\nupper = {value = 2}',
            2,
            "lower 3 is above upper 2",
        ),
        (
            '[[rule]]\nmeasure = "touches_border"\nwhere = "dark"',
            2,
            "invalid flag 'dark' (choose from touches_border",
        ),
        (
            '[[rule]]\nmeasure = "touches_border"\nname = "Border"',
            2,
            "invalid rule name 'Border'; use up to 64 small letters",
        ),
        (
            '[[rule]]\nmeasure = "touches_border"\nname = "dark"',
            2,
            "rule 1, dark: the reason 'dark' is reserved",
        ),
        *(
            (
                f'[[rule]]\nmeasure = "area"\nname = "{name}"\nlower = {{value = 1}}',
                2,
                "is reserved; give the rule another name",
            )
            for name in (
                "label",
                "label_id",
                "n",
                "lower",
                "upper",
                "cells",
                "clean",
                "emptied",
                "reasons",
            )
        ),
        (
            '[[rule]]\nmeasure = "touches_border"\nupper = {value = 1}',
            2,
            "remove upper from the rule on",
        ),
        (
            '[[rule]]\nmeasure = "touches_border"\nchannel = "red"',
            2,
            "remove channel from the rule",
        ),
        (
            '[[rule]]\nmeasure = "area"\nchannel = "red"\nlower = {value = 1}',
            2,
            "remove channel from the rule",
        ),
        (
            '[[rule]]\nmeasure = "fraction"\nlower = {value = 1}',
            2,
            "rule 1, fraction: fraction needs a channel",
        ),
        (
            '[[label.3.rule]]\nmeasure = "area"\nlower = {value = 1}\n[[label.3.rule]]\nmeasure = "width"',
            2,
            "rule 2 of label 3, width: the rule on width has neither",
        ),
        (
            f'[[rule]]\nmeasure = "area"\nlower = {{value = 1{"0" * 400}}}',
            2,
            "invalid value 1000",
        ),
        (
            f'[[rule]]\nmeasure = "area"\nlower = {{percentile = 1{"0" * 400}}}',
            2,
            "invalid percentile 1000",
        ),
        (f'[[rule]]\nmeasure = "area"\nlower = {{value = 1{"0" * 5000}}}', 1, "is not TOML: "),
        (f"[label.1{'0' * 5000}]", 2, "no label 1000"),
        (f"rule = {'[' * 5000}{']' * 5000}", 1, "is not TOML: "),
        (
            '[[rule]]\nmeasure = "area"\nlower = {median = 1.7e308}',
            2,
            "invalid median 1.7e+308 of a bound; use a number",
        ),
        (f"min_cells = 1{'0' * 20}", 2, "use a number from 0 to 2147483647"),
        ("min_cells = 3000000000", 2, "use a number from 0 to 2147483647"),
        (
            "".join(
                f'[[rule]]\nmeasure = "area"\nname = "r{n}"\nlower = {{value = 1}}\n'
                for n in range(501)
            ),
            2,
            "the recipe has 501 rules; use at most 500",
        ),
        (
            2 * '[[rule]]\nmeasure = "touches_border"\n',
            2,
            "rule 2, touches_border: another rule has the reason",
        ),
        (
            '[label.19]\n[[label.19.rule]]\nmeasure = "touches_border"',
            2,
            "no label 19; ids go from 0 to 18; list all labels with: hpastore sql",
        ),
        ("[label.0]\nrules = []", 2, "no key of label 0 'rules' (choose from rule, off, optional)"),
        (
            "[label.0]\nrule = []\n[label.Nucleoplasm]\nrule = []",
            2,
            "label 0 has two sections",
        ),
        ("[[rule", 1, "is not TOML: "),
    ],
)
def test_what_a_recipe_cannot_say_is_refused_with_what_it_can(
    run: Run, tmp_path: Path, text: str, code: int, message: str
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    done = run("clean", "create", "mine", "--recipe", path)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert run("--json", "clean", "list").json == []


def test_a_recipe_that_is_none_is_said(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial", "--limit", 1)
    assert (
        "no recipe 'other' (choose from hpa, notebook, or give the path of a .toml"
        in run("clean", "create", "x", "--recipe", "other").err
    )
    assert run("clean", "create", "x", "--recipe", "none.toml").err.endswith(
        "none.toml: cannot be read: No such file or directory\n"
    )
    mixed = run("clean", "create", "x", "--recipe", "hpa", "--lower", 0.5)
    assert (mixed.code, "leave out --measure" in mixed.err) == (2, True)


def test_decisions_versions_and_their_differences(run: Run, root: Path, tmp_path: Path) -> None:
    run("ingest", root, "--executor", "serial", "--limit", 4)
    run("clean", "create", "mine", "--lower", 0, "--upper", 1, "--min-green", 0)
    later = run("ingest", root, "--executor", "serial")
    assert (
        "clean set mine@1: a refresh would move the thresholds of label 7 and judge 3 new cells"
        in later.err
    )
    assert run("clean", "drift").code == 4
    assert run("--json", "clean", "drift", "mine").json[0]["unjudged"] == 3
    cell = f"{name_of(0)}:3"
    decided = run("clean", "override", cell, "--drop", "--comment", "two cells", "--score", 0.1)
    assert decided.out == "1 override written\n"
    assert "mine@2: " in run("clean", "refresh", "mine").out
    assert run("clean", "drift").code == 0
    found = run("--json", "clean", "diff", "mine@1", "mine@2").json
    assert {(row["cell"], row["change"], row["cause"]) for row in found} == {
        (cell, "out", "override"),
        *((f"{name_of(4)}:{k}", "in", "new_image") for k in (1, 3, 5)),
    }
    assert (
        "1 out: override, an override of the cell" in run("clean", "diff", "mine@1", "mine@2").err
    )
    assert len(run("--json", "clean", "diff", "mine@1", "mine", "--summary").json) == 2
    (told,) = [one for one in run("--json", "explain", cell).json if one["version"] == 2]
    assert (told["clean"], told["reason"], told["override"]) == (
        False,
        "override_drop",
        "drop: two cells",
    )
    assert [check["reason"] for check in told["checks"]] == ["dark", "below_lower / above_upper"]
    (before,) = [one for one in run("--json", "explain", cell).json if one["version"] == 1]
    assert (before["override"], before["later_override"]) == (None, "drop: two cells")
    text = run("explain", cell).out
    assert "mine@2, Nucleoplasm: not clean, override_drop" in text
    assert "override: drop: two cells" in text
    later_line = (
        "  override after this version: drop: two cells; 'hpastore clean refresh mine' applies it"
    )
    assert text.count(later_line) == 1  # version 1 was made without it
    run("clean", "override", cell, "--drop", "--comment", "a\x1b[2J\nmine@9, Cytosol: clean")
    forged = run("explain", cell).out
    assert "override: drop: a\\x1b[2J\\nmine@9, Cytosol: clean\n" in forged
    run("clean", "override", cell, "--drop", "--comment", "two cells", "--score", 0.1)

    out = tmp_path / "decided.csv"
    assert run("clean", "override-export", out).out == "1 override exported\n"
    assert run("clean", "override", cell, "--undo").out == "1 override undone\n"
    assert run("--json", "clean", "overrides").json == []
    assert run("clean", "override-import", out).out == "1 override written\n"
    (row,) = run("--json", "clean", "overrides").json
    assert (row["cell"], row["keep"], row["score"], row["label_id"]) == (cell, False, 0.1, None)
    (tmp_path / "scores").write_text(f"{name_of(2)}_0 0.9\n{name_of(3)}_2 0.1\n")
    assert run("--json", "clean", "override-import", "scores", "--first-id", 0).json == {
        "written": 2
    }
    assert [row["keep"] for row in run("--json", "clean", "overrides").json] == [False, True, False]
    assert run("--json", "clean", "overrides", "--lost").json == []
    assert "keep" in run("clean", "overrides").out

    assert run("--json", "clean", "freeze", "mine").json == {"clean_set": "mine", "frozen": True}
    assert run("clean", "freeze", "mine").out == "mine keeps its thresholds\n"
    assert [row["frozen"] for row in run("--json", "clean", "list").json] == [False, True]
    run("clean", "freeze", "mine", "--undo")
    assert run("clean", "drop", "mine@1").out == "1 version of mine dropped\n"
    assert run("--json", "clean", "drop", "mine").json == {"dropped": 1}


@pytest.mark.parametrize("options", [(), ("--keep", "--undo"), ("--drop", "--keep")])
def test_one_of_keep_drop_and_undo_must_be_said(
    run: Run, root: Path, options: tuple[str, ...]
) -> None:
    run("ingest", root, "--executor", "serial", "--limit", 1)
    done = run("clean", "override", f"{name_of(0)}:1", *options)
    assert (done.code, done.err) == (2, "hpastore: give exactly one of --keep, --drop and --undo\n")


def test_a_cell_that_no_set_judged_is_said(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial", "--limit", 1)
    done = run("explain", f"{name_of(0)}:1")
    assert (done.code, done.out, done.err) == (0, "", f"no clean set has judged {name_of(0)}:1\n")
    assert run("explain", f"{name_of(0)}:2").code == 1


def test_images_that_lose_all_their_cells_are_named(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    made = run("clean", "create", "mine", "--min-green", 256)
    assert (
        "3 times an image lost all its cells for a label; 'hpastore clean show mine@1 --emptied'"
        in made.err
    )
    shown = run("--json", "clean", "show", "mine", "--emptied").json
    assert [(row["image_name"], row["label_id"]) for row in shown] == [
        (name_of(0), 0),
        (name_of(1), 16),
        (name_of(4), 7),
    ]


def test_tables_of_bounds_name_the_measure(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    assert (
        "  blue intensity_mean  "
        in run("thresholds", "--measure", "intensity_mean", "--channel", "blue").out
    )
    assert "  area  " in run("thresholds", "--measure", "area").out
    keys = ["label_id", "label", "n", "lower", "upper"]
    assert list(run("--json", "thresholds").json[0]) == keys
    run("clean", "create", "mine")
    assert "  green fraction  " in run("clean", "show", "mine").out
    (first, *_) = run("--json", "clean", "show", "mine").json
    assert (first["measure"], first["channel"]) == ("fraction", "green")


def test_what_few_cells_cannot_do_is_said_where_a_set_is_made_or_shown(
    run: Run, root: Path
) -> None:
    run("ingest", root, "--executor", "serial")
    line = "have so few cells that percentiles 0.001 and 0.999 drop the lowest and the highest cell, good or"
    made = run("--json", "clean", "create", "mine")
    assert line in made.err
    assert {(drop["label_id"], drop["side"]) for drop in made.json["forced"]} >= {
        (0, "lower"),
        (0, "upper"),
    }
    for command in (("refresh", "mine"), ("show", "mine")):
        assert line in run("clean", *command).err
    few = run("clean", "create", "few", "--min-cells", 20)
    assert "labels 0 (3 cells), " in few.err
    assert "percentiles and medians of below_lower / above_upper bound nothing" in few.err
    assert "not checked: 3 cells, 20 needed" in run("explain", f"{name_of(0)}:1").out
    shown = run("--json", "clean", "show", "few").json
    assert {(row["idle_rules"], row["forced_drops"]) for row in shown} == {(1, 0)}


def test_a_refresh_prints_what_flipped(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    run("clean", "create", "mine", "--lower", 0, "--upper", 1, "--min-green", 0)
    run("clean", "override", f"{name_of(0)}:1", "--drop")
    done = run("clean", "refresh", "mine")
    first, *_, last = done.out.splitlines()
    assert first == "mine@2: 9 of 10 verdicts are clean"
    assert last.split() == ["0", "Nucleoplasm", "out", "override", "1"]
    assert (
        "warning: mine@2: the share of clean verdicts moved by more than 10 percentage points: 0 Nucleo"
        in done.err
    )
    run("clean", "override", f"{name_of(0)}:1", "--undo")
    again = run("--json", "clean", "refresh", "mine").json
    assert again["flips"] == [
        {"label_id": 0, "label": "Nucleoplasm", "change": "in", "cause": "override", "cells": 1}
    ]
    assert [share["label_id"] for share in again["shares"]] == [0]


def test_a_decision_says_when_it_takes_effect(run: Run, root: Path, tmp_path: Path) -> None:
    run("ingest", root, "--executor", "serial")
    cell = f"{name_of(0)}:1"
    assert run("clean", "override", cell, "--drop").err == (
        "it takes effect in the next 'hpastore clean create NAME'\n"
    )
    run("clean", "create", "mine")
    effect = (
        "clean sets stay as they are; it takes effect with the next 'hpastore clean refresh mine'\n"
    )
    assert run("clean", "override", cell, "--keep").err == effect
    assert run("clean", "override", cell, "--undo").err == effect
    assert run("clean", "override", cell, "--undo").err == ""
    (tmp_path / "a.csv").write_text(f"cell,keep\n{cell},drop\n")
    assert run("clean", "override-import", "a.csv").err == effect
    run("clean", "create", "other")
    assert (
        "'hpastore clean refresh NAME', NAME being one of mine, other\n"
        in run("clean", "override", cell, "--keep").err
    )
    exported = run("export", "csv", "a2.csv", "--clean", "mine")
    assert (
        "clean set mine@1 is older than 1 override; 'hpastore clean refresh mine'" in exported.err
    )


@pytest.mark.parametrize(
    ("found", "author"),
    [
        ("ann", "ann"),
        (OSError("no name"), None),
        (KeyError("uid"), None),
        ("\udcff", None),
        ("", None),
    ],
)
def test_who_decides_is_the_user_unless_given(
    run: Run,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: str | Exception,
    author: str | None,
) -> None:
    def getuser() -> str:
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(getpass, "getuser", getuser)
    run("ingest", root, "--executor", "serial", "--limit", 1)
    assert run("clean", "override", f"{name_of(0)}:1", "--drop").code == 0
    run("clean", "override", f"{name_of(0)}:3", "--drop", "--author", "bob")
    assert [row["author"] for row in run("--json", "clean", "overrides").json] == [author, "bob"]


EXPORTS = {"coco": "no.json", "mmdet": "no.pkl", "csv": "no.csv", "images": "no"}


def test_every_command_that_takes_cells_can_be_limited_to_a_split(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial", "--split", "train")
    assert run("--json", "thresholds", "--split", "train").json == run("--json", "thresholds").json
    assert "mine@1 of split train: " in run("clean", "create", "mine", "--split", "train").out
    assert run("--json", "clean", "list").json[0]["split"] == "train"
    assert {row["split"] for row in run("--json", "clean", "show", "mine").json} == {"train"}
    assert "; only images of split train were judged\n" in run("clean", "show", "mine").err
    assert "mine@1 of split train, Nucleoplasm: " in run("explain", f"{name_of(0)}:1").out
    assert run("export", "coco", "a.json", "--clean", "mine", "--split", "train").code == 0
    refused = "hpastore: no split 'val' (choose from train)\n"
    for command in (
        ("thresholds",),
        ("clean", "create", "mine"),
        *(("export", form, out) for form, out in EXPORTS.items()),
        *(("plot", figure, "--out", "no.png") for figure in ("hist", "gallery")),
    ):
        done = run(*command, "--split", "val")
        assert (done.code, done.err) == (2, refused), command


def test_a_name_that_means_another_set_is_said_with_what_differs(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial", "--split", "train")
    assert "now means" not in run("clean", "create", "a", "--scope", "all").err
    limited = run("clean", "create", "a", "--scope", "all", "--split", "train")
    assert "'a' now means a@2 of split train; a@1, of all images, stays as it is\n" in limited.err
    other = run("clean", "create", "a", "--scope", "all", "--split", "train", "--upper", "0.5")
    assert "'a' now means a@3; a@2, by other rules, stays as it is\n" in other.err
    both = run("--json", "clean", "create", "a", "--scope", "all")
    assert (
        "'a' now means a@4 of all images; a@3, of split train and by other rules, stays as it is\n"
        in both.err
    )
    assert both.json["superseded"] == {
        "version": 3,
        "split": "train",
        "other_split": True,
        "other_rules": True,
    }


def test_cells_of_several_labels_that_are_not_judged_are_said(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    cell = f"{name_of(2)}:1"
    assert run("explain", cell).err == f"no clean set has judged {cell}\n"
    said = "2 cells of 1 image with several labels are not judged (scope single; --scope all judges them)\n"
    for command in ("create", "refresh"):
        assert said in run("clean", command, "a").err
    assert run("explain", cell).err == (
        f"{cell} is not judged: its image has several labels (0|16), and all clean sets judge only "
        "images with a single label; 'hpastore clean create NAME --scope all' judges it\n"
    )
    assert "not judged" not in run("clean", "create", "b", "--scope", "all").err


def test_counts_of_one_are_in_the_singular(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    run("clean", "create", "a")
    assert run("export", "coco", "a.json", "--clean", "a").code == 0
    assert run("verify", "a.json").out == "a.json: 1 file agrees with the manifest\n"
    assert run("export", "images", "pictures", "-j", 1).code == 0
    assert "files agree with the manifest\n" in run("verify", "pictures").out
    assert run("clean", "override", f"{name_of(0)}:1", "--drop").out == "1 override written\n"
    assert run("clean", "drop", "a").out == "1 version of a dropped\n"
