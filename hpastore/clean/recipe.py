"""Recipes of clean sets as TOML: shipped with hpastore, or in a user's file."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any, Final

from hpastore.arguments import expanded
from hpastore.clean.bound import Bound
from hpastore.clean.rules import FLAGS, CleanRecipe, Rule
from hpastore.errors import InputError, UsageError
from hpastore.kernels.definitions import SHAPE_MEASURES
from hpastore.reading.files import read_text
from hpastore.text import printable

_RECIPE_KEYS: Final = ("scope", "min_green", "min_cells", "guard", "rule", "label")
_RULE_KEYS: Final = tuple(f.name for f in fields(Rule))
_BOUND_KEYS: Final = tuple(f.name for f in fields(Bound))

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
"""A key of TOML that needs no quotes."""

_FORMER_BOUND: Final = re.compile(r"^(lower|upper)_percentile = (.*)$", re.M)
"""How programs before schema 0003 wrote a bound; only they wrote the recipe, never a user."""

_MAX_BYTES: Final = 2**24
"""Of a recipe's file."""


def shipped() -> list[str]:
    """Name the recipes that come with hpastore."""
    return sorted(
        path.name.removesuffix(".toml")
        for path in _folder().iterdir()
        if path.name.endswith(".toml")
    )


def load_recipe(name: str | Path) -> CleanRecipe:
    """Read a recipe.

    Parameters
    ----------
    name : str or Path
        One of the shipped recipes, or a path of a TOML file; what ends in ``.toml`` is a path.

    Returns
    -------
    CleanRecipe
        Not validated yet: its rules may be on custom measures and labels of a store.

    Raises
    ------
    UsageError
        If a key or a type is not allowed in a recipe; the message lists those that are.
    InputError
        If there is no such file, or it is not TOML.
    """
    path = expanded(name)
    if path.suffix == ".toml" or len(path.parts) > 1:
        return parse_recipe(read_text(path, _MAX_BYTES), str(path))
    if str(name) not in shipped():
        raise UsageError(
            f"no recipe {str(name)!r} (choose from {', '.join(shipped())}, or give the path of "
            "a .toml file)"
        )
    return parse_recipe((_folder() / f"{name}.toml").read_text(encoding="utf-8"), str(name))


def parse_recipe(text: str, where: str = "recipe") -> CleanRecipe:
    """Read a recipe's text.

    Parameters
    ----------
    text : str
    where : str
        What the text is, for messages.

    Raises
    ------
    UsageError, InputError
        As `load_recipe`.
    """
    try:
        given = tomllib.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # numbers of 5,000 digits, lists in lists in lists
        raise InputError(where, f"is not TOML: {error}") from error
    try:
        return CleanRecipe(**_recipe_arguments(given), text=text)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def stored_recipe(text: str) -> str:
    """Give the recipe that a clean set keeps, with the keys of today."""
    return _FORMER_BOUND.sub(r"\1 = {percentile = \2}", text)


def recipe_toml(recipe: CleanRecipe) -> str:
    r"""Write a recipe as TOML: the text that it was read from, or else an equal one.

    Examples
    --------
    >>> print(recipe_toml(CleanRecipe()), end="")
    scope = "single"
    min_green = 64
    min_cells = 1
    guard = "report"
    <BLANKLINE>
    [[rule]]
    measure = "fraction"
    channel = "green"
    lower = {percentile = 0.001}
    upper = {percentile = 0.999}
    """
    if recipe.text is not None:
        return recipe.text
    lines = [f"{key} = {json.dumps(getattr(recipe, key))}" for key in _RECIPE_KEYS[:4]]
    if not recipe.rules:
        lines.append("rule = []")
    for rule in recipe.rules:
        lines += ["", "[[rule]]", *_rule_lines(rule)]
    for given, rules in recipe.labels.items():
        label = _toml_key(str(given))
        lines += ["", f"[label.{label}]", *(["rule = []"] if not rules else [])]
        for rule in rules:
            lines += ["", f"[[label.{label}.rule]]", *_rule_lines(rule)]
    return "\n".join(lines) + "\n"


def _folder() -> Any:
    return resources.files("hpastore.clean") / "recipes"


def _recipe_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `CleanRecipe`."""
    _require_known("key", given, _RECIPE_KEYS)
    arguments: dict[str, Any] = {}
    for key, kind in (("scope", str), ("min_green", int), ("min_cells", int), ("guard", str)):
        if key in given:
            arguments[key] = _typed(given[key], kind, key)
    if "rule" in given:
        arguments["rules"] = _rules(given["rule"])
    arguments["labels"] = _rules_by_label(_typed(given.get("label", {}), dict, "label"))
    return arguments


def _rules_by_label(given: Mapping[str, Any]) -> dict[int | str, tuple[Rule, ...]]:
    rules: dict[int | str, tuple[Rule, ...]] = {}
    for name, table in given.items():
        shown = printable(name)
        _require_known(f"key of label {shown}", _typed(table, dict, f"label {shown}"), ("rule",))
        rules[name] = _rules(table.get("rule", []))
    return rules


def _rules(given: Any) -> tuple[Rule, ...]:
    tables = _typed(given, list, "rule")
    return tuple(_rule(_typed(table, dict, "[[rule]]")) for table in tables)


def _rule(given: Mapping[str, Any]) -> Rule:
    _require_known("key of a rule", given, _RULE_KEYS)
    if "measure" not in given:
        raise UsageError("a rule has no measure")
    measure = given["measure"]
    for key in _forbidden_keys(measure):
        if key in given:
            raise UsageError(f"remove {key} from the rule on {measure}, which has none")

    arguments: dict[str, Any] = {"channel": None, "lower": None, "upper": None}
    for key, value in given.items():
        is_bound = key in ("lower", "upper")
        arguments[key] = _bound(value, key) if is_bound else _typed(value, str, key)
    return Rule(**arguments)


def _forbidden_keys(measure: str) -> list[str]:
    """Keys that a rule on a measure must not have."""
    if measure in FLAGS:
        return ["channel", "lower", "upper"]
    return ["channel"] if any(measure == m.name for m in SHAPE_MEASURES) else []


def _bound(given: Any, side: str) -> Bound:
    _require_known(f"kind of {side} bound", _typed(given, dict, side), _BOUND_KEYS)
    bound = Bound(**given)
    bound.resolve()
    return bound


def _require_known(what: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    """Refuse names that are not allowed."""
    for name in given:
        if name not in allowed:
            raise UsageError(f"no {what} {printable(name)!r} (choose from {', '.join(allowed)})")


def _typed(value: Any, kind: type, what: str) -> Any:
    """Refuse a value of another type."""
    words = {str: "a string", int: "a whole number", dict: "a table", list: "a list"}
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UsageError(f"{what} must be {words[kind]}, not {printable(repr(value))}")
    return value


def _toml_key(text: str) -> str:
    """Write a key, in quotes if it needs them."""
    return text if _BARE_KEY.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _rule_lines(rule: Rule) -> list[str]:
    """Write the keys of a rule."""
    lines = []
    for key in ("name", "measure", "channel", "where"):
        value = getattr(rule, key)
        if value is not None and key not in _forbidden_keys(rule.measure):
            lines.append(f"{key} = {json.dumps(value)}")
    for side, (kind, number) in rule.sides.items():
        lines.append(f"{side} = {{{kind} = {number!r}}}")
    return lines
