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
from hpastore.clean.rules import FLAGS, CleanRecipe, LabelRules, Rule
from hpastore.errors import InputError, UsageError
from hpastore.kernels.definitions import SHAPE_MEASURES
from hpastore.reading.files import read_text
from hpastore.text import printable

_SINGLE_KEYS: Final[Mapping[str, type]] = {
    "scope": str,
    "min_green": int,
    "min_cells": int,
    "small_labels": str,
    "guard": str,
    "label_sections": str,
}
"""Keys of a recipe with one value each."""

_RECIPE_KEYS: Final = (*_SINGLE_KEYS, "rule", "label", "negative_class")
_SECTION_KEYS: Final = ("rule", "off", "optional")
_RULE_KEYS: Final = tuple(f.name for f in fields(Rule))
_BOUND_KEYS: Final = tuple(f.name for f in fields(Bound))

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
"""A key of TOML that needs no quotes."""

RECIPE_VERSION: Final = 2
"""Of the language of recipes, as `clean_set.recipe_version` has it."""

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


def stored_recipe(text: str, version: int | None) -> str:
    """Give the recipe that a clean set keeps, in the language of today.

    Parameters
    ----------
    text
    version
        Of the language that it was written in; None is 1, in which the section of a label listed
        all rules of the label.
    """
    text = _FORMER_BOUND.sub(r"\1 = {percentile = \2}", text)
    return f'label_sections = "replace"\n{text}' if version is None and _has_labels(text) else text


def _has_labels(text: str) -> bool:
    try:
        return "label" in tomllib.loads(text)
    except (ValueError, RecursionError):  # whoever reads it says so
        return False


def recipe_toml(recipe: CleanRecipe) -> str:
    r"""Write a recipe as TOML: the text that it was read from, or else an equal one.

    Examples
    --------
    >>> print(recipe_toml(CleanRecipe()), end="")
    scope = "single"
    min_green = 64
    min_cells = 1
    small_labels = "nothing"
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
    lines = [
        f"{key} = {json.dumps(getattr(recipe, key))}"
        for key in _SINGLE_KEYS
        if key != "label_sections" or recipe.label_sections != "change"
    ]
    if not recipe.rules:
        lines.append("rule = []")
    for rule in recipe.rules:
        lines += ["", "[[rule]]", *_rule_lines(rule)]
    for label, section in recipe.labels.items():
        lines += _section_lines(f"label.{_toml_key(str(label))}", section)
    if recipe.negative_class is not None:
        lines += _section_lines("negative_class", recipe.negative_class)
    return "\n".join(lines) + "\n"


def _section_lines(name: str, section: LabelRules | tuple[Rule, ...]) -> list[str]:
    """Write what differs for a label."""
    if not isinstance(section, LabelRules):
        section = LabelRules(section)
    lines = ["", f"[{name}]"]
    if section.off:
        lines.append(f"off = {json.dumps(section.off)}")
    if section.optional:
        lines.append("optional = true")
    for rule in section.rules:
        lines += ["", f"[[{name}.rule]]", *_rule_lines(rule)]
    return lines


def _folder() -> Any:
    return resources.files("hpastore.clean") / "recipes"


def _recipe_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `CleanRecipe`."""
    _require_known("key", given, _RECIPE_KEYS)
    arguments: dict[str, Any] = {}
    for key, kind in _SINGLE_KEYS.items():
        if key in given:
            arguments[key] = _typed(given[key], kind, key)
    if "rule" in given:
        arguments["rules"] = _rules(given["rule"])
    arguments["labels"] = {
        name: _section(table, f"label {printable(name)}")
        for name, table in _typed(given.get("label", {}), dict, "label").items()
    }
    if "negative_class" in given:
        arguments["negative_class"] = _section(given["negative_class"], "negative_class")
    return arguments


def _section(given: Any, of: str) -> LabelRules:
    """Read what differs for a label."""
    table = _typed(given, dict, of)
    _require_known(f"key of {of}", table, _SECTION_KEYS)
    off = tuple(_typed(name, str, "off") for name in _typed(table.get("off", []), list, "off"))
    optional = table.get("optional", False)
    if not isinstance(optional, bool):
        raise UsageError(f"optional must be true or false, not {printable(repr(optional))}")
    return LabelRules(_rules(table.get("rule", [])), off, optional)


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
    for key in ("name", "measure", "channel", "where", "by"):
        value = getattr(rule, key)
        if value is not None and key not in _forbidden_keys(rule.measure):
            lines.append(f"{key} = {json.dumps(value)}")
    for side, (kind, number) in rule.sides.items():
        lines.append(f"{side} = {{{kind} = {number!r}}}")
    return lines
