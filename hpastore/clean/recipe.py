"""Recipes of clean sets as TOML: shipped with hpastore, or in a user's file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any, Final

from hpastore.arguments import expanded
from hpastore.clean.rules import FLAGS, Bound, CleanRecipe, Rule
from hpastore.errors import InputError, UsageError
from hpastore.kernels.definitions import SHAPE_MEASURES
from hpastore.reading.files import read_text
from hpastore.text import printable
from hpastore.vocabulary import find_label

_RECIPE_KEYS: Final = ("scope", "min_green", "min_cells", "guard", "rule", "label")
_RULE_KEYS: Final = tuple(f.name for f in fields(Rule))
_BOUND_KEYS: Final = tuple(f.name for f in fields(Bound))

_MOST_BYTES: Final = 2**24
"""Of a recipe's file."""


def shipped() -> list[str]:
    """Name the recipes that come with hpastore."""
    return sorted(
        path.name.removesuffix(".toml") for path in _folder().iterdir() if path.name.endswith(".toml")
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
        Not checked yet: a store may have measures of its own.

    Raises
    ------
    UsageError
        If a key, a label or a type is none that a recipe has, with those that are allowed.
    InputError
        If there is no such file, or it is no TOML.
    """
    path = expanded(name)
    if path.suffix == ".toml" or len(path.parts) > 1:
        return parse_recipe(read_text(path, _MOST_BYTES), str(path))
    if str(name) not in shipped():
        raise UsageError(
            f"no recipe {str(name)!r}; there are {', '.join(shipped())}, or a path of a .toml file"
        )
    return parse_recipe((_folder() / f"{name}.toml").read_text(encoding="utf-8"), str(name))


def parse_recipe(text: str, where: str = "recipe") -> CleanRecipe:
    """Read a recipe's text.

    Parameters
    ----------
    text : str
    where : str
        What it is, for messages.

    Raises
    ------
    UsageError, InputError
        As `load_recipe`.
    """
    try:
        said = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of 5,000 digits, lists in lists in lists
        raise InputError(where, f"is not TOML: {error}") from error
    try:
        return CleanRecipe(**_recipe(said), text=text)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def recipe_toml(recipe: CleanRecipe) -> str:
    r"""Write a recipe as TOML: the text that it was read from, or else one that says the same.

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
    for label, rules in recipe.rules_by_label().items():
        lines += ["", f"[label.{label}]", *(["rule = []"] if not rules else [])]
        for rule in rules:
            lines += ["", f"[[label.{label}.rule]]", *_rule_lines(rule)]
    return "\n".join(lines) + "\n"


def _folder() -> Any:
    return resources.files("hpastore.clean") / "recipes"


def _recipe(said: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `CleanRecipe`."""
    _known("key", said, _RECIPE_KEYS)
    arguments: dict[str, Any] = {}
    for key, kind in (("scope", str), ("min_green", int), ("min_cells", int), ("guard", str)):
        if key in said:
            arguments[key] = _typed(said[key], kind, key)
    if "rule" in said:
        arguments["rules"] = _rules(said["rule"])
    labels = _typed(said.get("label", {}), dict, "label")
    arguments["labels"] = {}
    for name, own in labels.items():
        label = find_label(name)
        if label in arguments["labels"]:
            raise UsageError(f"label {label} has two lists of rules, by its number and by its name")
        _known(f"key of label {name}", _typed(own, dict, f"label {name}"), ("rule",))
        arguments["labels"][label] = _rules(own.get("rule", []))
    return arguments


def _rules(said: Any) -> tuple[Rule, ...]:
    return tuple(_rule(_typed(one, dict, "[[rule]]")) for one in _typed(said, list, "rule"))


def _rule(said: Mapping[str, Any]) -> Rule:
    _known("key of a rule", said, _RULE_KEYS)
    if "measure" not in said:
        raise UsageError("a rule has no measure")
    for key in _needless(said["measure"]):
        if key in said:
            raise UsageError(f"a rule on {said['measure']} has no {key}")
    arguments: dict[str, Any] = {"channel": None, "lower": None, "upper": None}
    for key, value in said.items():
        arguments[key] = _bound(value, key) if key in ("lower", "upper") else _typed(value, str, key)
    return Rule(**arguments)


def _needless(measure: str) -> list[str]:
    """Keys that a rule on a measure has not."""
    keys = ["channel"] if measure in FLAGS or any(measure == m.name for m in SHAPE_MEASURES) else []
    return [*keys, "lower", "upper"] if measure in FLAGS else keys


def _bound(said: Any, side: str) -> Bound:
    _known(f"kind of {side} bound", _typed(said, dict, side), _BOUND_KEYS)
    bound = Bound(**said)
    bound.said()
    return bound


def _known(what: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    for name in given:
        if name not in allowed:
            raise UsageError(f"no {what} {printable(name)!r}; there are {', '.join(allowed)}")


def _typed(value: Any, kind: type, what: str) -> Any:
    words = {str: "a text", int: "a whole number", dict: "a table", list: "a list"}
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UsageError(f"{what} takes {words[kind]}, not {printable(repr(value))}")
    return value


def _rule_lines(rule: Rule) -> list[str]:
    texts = {key: getattr(rule, key) for key in ("name", "measure", "channel", "where")}
    texts = {key: value for key, value in texts.items() if key not in _needless(rule.measure)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in texts.items() if value is not None]
    return lines + [f"{side} = {{{kind} = {number!r}}}" for side, (kind, number) in rule.sides.items()]
