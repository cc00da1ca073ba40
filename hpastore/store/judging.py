"""Clean sets: their bounds and verdicts, taken by the database; written, and taken again to compare."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Connection,
    and_,
    case,
    delete,
    false,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import aliased

from hpastore.runtime.failpoints import failpoint
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import (
    Cell,
    CellChannel,
    CellMeasure,
    CellOverride,
    CleanRule,
    CleanSet,
    CleanSetCell,
    CleanSetFormer,
    CleanSetThreshold,
    Image,
    ImageLabel,
    Measure,
)
from hpastore.schema.verdict import verdicts
from hpastore.schema.views import CHANNEL_NAMES, SHAPE_NAMES, clean_cell, rule_holds
from hpastore.store import decoding, export_rows, label_thresholds, statements, stored_sets
from hpastore.store.bulk import analyze, change, store_checksums
from hpastore.vocabulary import LABEL_NAMES

Row = Mapping[str, Any] | statements.Row

_SIDES = ("lower", "upper")


def write_clean_set(
    connection: Connection,
    clean_set: Row,
    rules: Iterable[Row],
    kept: Mapping[tuple[int, int], Row] | None = None,
) -> tuple[int, int]:
    """Store a new version of a clean set, and materialise its thresholds and verdicts.

    Parameters
    ----------
    connection
        In a writing transaction.
    clean_set
        Its columns but the version.
    rules
        Their columns.
    kept
        Bounds to judge by, by the rule's position and the label: those of a frozen version; else they are
        taken from the cells of now.

    Returns
    -------
    id, version : int
    """
    taken = select(func.coalesce(func.max(CleanSet.version), 0) + 1).where(CleanSet.name == clean_set["name"])
    version = connection.execute(taken).scalar_one()
    made = insert(CleanSet).values(version=version, **clean_set).returning(CleanSet.id)
    set_id = connection.execute(made).scalar_one()
    rows = [{"clean_set_id": set_id, **rule} for rule in rules]
    if rows:
        connection.execute(insert(CleanRule), rows)
    stored, stored_rules = (
        stored_sets.clean_set(connection, set_id),
        stored_sets.clean_rules(connection, set_id),
    )
    bounds = (
        bounds_of_now(connection, stored, stored_rules) if kept is None else _kept_bounds(stored_rules, kept)
    )
    if bounds:
        connection.execute(insert(CleanSetThreshold), [{"clean_set_id": set_id, **b} for b in bounds])
    failpoint("clean_set.thresholds")
    judged = verdicts(stored, stored_rules, bounds).subquery("verdicts")
    columns = ["clean_set_id", "cell_id", "label_id", "clean", "reason"]
    values = select(CleanSet.id, *(judged.c[name] for name in columns[1:]))
    values = values.join_from(CleanSet, judged, CleanSet.id == set_id)
    connection.execute(insert(CleanSetCell).from_select(columns, values))
    failpoint("clean_set.cells")
    analyze(connection)
    store_checksums(connection, CleanSet, CleanSet.id == set_id)
    return int(set_id), int(version)


def bounds_of_now(connection: Connection, clean_set: Row, rules: Sequence[Row]) -> list[dict[str, Any]]:
    """Take the bounds of rules for all their labels from the cells of now.

    Returns
    -------
    list of dict
        ``rule_id, label_id, n, lower, upper``, as the view ``label_threshold`` has them.
    """
    wanted = defaultdict[tuple[str, str | None], set[float]](set)
    for rule in rules:
        shares = wanted[rule["measure"], rule["channel"]]
        shares.update(rule[f"{side}_percentile"] for side in _SIDES)
        shares.update(0.5 for side in _SIDES if rule[f"{side}_median"] is not None)
    split = clean_set["split"]
    found = {key: _shares(connection, key, shares - {None}, split) for key, shares in wanted.items()}
    bounds = []
    for rule in rules:
        of_label = found[rule["measure"], rule["channel"]]
        for label in _labels(rule):
            n, values = of_label.get(label, (0, {}))
            taken = values if n >= clean_set["min_cells"] else {}
            sides = {side: _bound(rule, side, taken) for side in _SIDES}
            bounds.append({"rule_id": rule["id"], "label_id": label, "n": n, **sides})
    return bounds


def freeze(connection: Connection, set_id: int, *, frozen: bool) -> None:
    """Have a clean set keep its thresholds, or not."""
    change(connection, CleanSet, CleanSet.id == set_id, {"frozen": frozen})


def drop(connection: Connection, set_ids: Sequence[int]) -> None:
    """Delete clean sets with all their rows."""
    connection.execute(delete(CleanSet).where(CleanSet.id.in_(set_ids)))


def verdict_rows(connection: Connection, selection: export_rows.Selection) -> Generator[Any]:
    """Stream a selection's rows of ``clean_cell`` with the cells' boxes and notebook fractions.

    The view itself judges by all rules of all sets, a row for each; here are the rules of one.
    """
    set_id = selection.set_id
    if set_id is None:
        return export_rows.verdicts(connection, selection)
    stored_sets.check_labels(connection, set_id)
    clean_set, rules = stored_sets.clean_set(connection, set_id), stored_sets.clean_rules(connection, set_id)
    kept = stored_sets.clean_bounds(connection, set_id)
    bounds = kept if clean_set["frozen"] else bounds_of_now(connection, clean_set, rules)
    judged = verdicts(clean_set, rules, bounds).subquery("judged")
    now = select(literal(set_id).label("clean_set_id"), judged).subquery("now")
    told = {*stored_sets.reasons(connection, set_id), None}
    ranks = [
        _ranks(rule, clean_set["split"])
        for rule in _one_each(rules)
        if rule["shown"] or rule["reason"] in told
    ]
    none = select(*(null().label(name) for name in ("rule_id", "label_id", "cell_id", "rank"))).where(false())
    of_rules = union_all(*ranks) if ranks else none
    view = clean_cell(now, of_rules.subquery("ranks"), CleanSet.id == set_id)
    return export_rows.verdicts(connection, selection, view.subquery("clean_cell"))


def _one_each(rules: Sequence[Row]) -> Iterable[Row]:
    """One row for each rule, which may have several, of a label each."""
    return {rule["position"]: rule for rule in rules}.values()


def _ranks(rule: Row, split: str | None) -> AnySelect:
    """Place of the value of every cell of a single-label image, of any split or of one, for one rule."""
    values = label_thresholds.label_values(rule["measure"], rule["channel"], split).subquery("single")
    of_label = and_(
        CleanRule.clean_set_id == rule["clean_set_id"],
        CleanRule.position == rule["position"],
        rule_holds(values.c.label_id),
    )
    rank = func.rank().over(partition_by=values.c.label_id, order_by=values.c.value)
    columns = (CleanRule.id.label("rule_id"), values.c.label_id, values.c.cell_id, rank.label("rank"))
    return select(*columns).select_from(values.join(CleanRule.__table__, of_label))


MEANING: Final = (
    *("measure", "channel", "condition"),
    *(f"{side}_{kind}" for side in _SIDES for kind in ("percentile", "value", "median")),
)
"""Columns of a rule that decide what it drops; the measure first."""

Verdicts = dict[tuple[str, int, int], tuple[bool, str | None, bool]]
"""Whether a cell is clean, why, and whether its row is a former one: by image's name, mask id and label."""


def newest(connection: Connection) -> list[int]:
    """Read the keys of the newest versions of all clean sets, by name."""
    last = select(CleanSet.name, func.max(CleanSet.version).label("version")).group_by(CleanSet.name)
    of_name = last.subquery("last")
    same = and_(of_name.c.name == CleanSet.name, of_name.c.version == CleanSet.version)
    return list(connection.execute(select(CleanSet.id).join(of_name, same).order_by(CleanSet.name)).scalars())


def moved(kept: Iterable[Row], now: Iterable[Row]) -> tuple[int, ...]:
    """Name the labels of which a bound differs, ascending."""
    sides = [
        {(b["rule_id"], b["label_id"]): (b["lower"], b["upper"]) for b in bounds} for bounds in (kept, now)
    ]
    return tuple(sorted({key[1] for key in sides[1] if sides[0].get(key) != sides[1][key]}))


def compare_verdicts(
    connection: Connection, clean_set: Row, rules: Sequence[Row], bounds: Sequence[Row]
) -> tuple[int, int, int, int]:
    """Judge the cells of now by other bounds, and compare with what a clean set keeps.

    Returns
    -------
    flips, unjudged, left, cells : int
        Verdicts that turn, verdicts that it has not, verdicts that would be no more, and verdicts that it
        has on cells of now.
    """
    now = verdicts(clean_set, rules, bounds).subquery("now")
    kept = aliased(CleanSetCell, name="kept")
    same = and_(
        kept.clean_set_id == clean_set["id"], kept.cell_id == now.c.cell_id, kept.label_id == now.c.label_id
    )
    turned = or_(and_(kept.clean, ~now.c.clean), and_(~kept.clean, now.c.clean))
    counts = select(
        func.count(case((turned, 1))), func.count().filter(kept.cell_id.is_(None)), func.count(kept.cell_id)
    )
    flips, unjudged, cells = connection.execute(counts.select_from(now).outerjoin(kept, same)).one()
    has = sum(
        connection.execute(
            select(func.count()).select_from(table).where(table.clean_set_id == clean_set["id"])
        ).scalar_one()
        for table in (CleanSetCell, CleanSetFormer)
    )
    return flips, unjudged, has - cells, cells


def differing(connection: Connection, a: int, b: int) -> tuple[Verdicts, Verdicts]:
    """Read the verdicts of two clean sets that may differ: all but those on one row of a cell that agree."""
    found: tuple[Verdicts, Verdicts] = (_former(connection, a), _former(connection, b))
    for mine, other, into in ((a, b, 0), (b, a, 1)):
        own, its = aliased(CleanSetCell, name="own"), aliased(CleanSetCell, name="its")
        same = and_(its.clean_set_id == other, its.cell_id == own.cell_id, its.label_id == own.label_id)
        differs = or_(its.cell_id.is_(None), and_(own.clean, ~its.clean), and_(~own.clean, its.clean))
        statement = (
            select(Image.name, Cell.mask_id, own.label_id, own.clean, own.reason)
            .select_from(own)
            .join(Cell, Cell.id == own.cell_id)
            .join(Image)
            .outerjoin(its, same)
            .where(own.clean_set_id == mine, differs)
        )
        for name, mask_id, label_id, clean, reason in connection.execute(statement):
            found[into][name, mask_id, label_id] = (clean, reason, False)
    return found


def _former(connection: Connection, set_id: int) -> Verdicts:
    former = CleanSetFormer
    statement = select(former.image_name, former.mask_id, former.label_id, former.clean, former.reason)
    rows = connection.execute(statement.where(former.clean_set_id == set_id))
    return {(name, mask_id, label): (clean, reason, True) for name, mask_id, label, clean, reason in rows}


def labels_judged(connection: Connection, set_id: int, names: Iterable[str]) -> dict[str, set[int]]:
    """Read the labels under which a clean set has judged images, also those that were replaced since."""
    verdict, former = CleanSetCell, CleanSetFormer
    of_cells = select(Image.name, verdict.label_id).join_from(verdict, Cell).join(Image)
    of_former = select(former.image_name, former.label_id).where(former.clean_set_id == set_id)
    found: dict[str, set[int]] = {}
    for part in statements.batches(sorted(names)):
        for statement in (
            of_cells.where(verdict.clean_set_id == set_id, Image.name.in_(part)),
            of_former.where(former.image_name.in_(part)),
        ):
            for name, label in connection.execute(statement.distinct()):
                found.setdefault(name, set()).add(label)
    return found


def image_facts(connection: Connection, names: Iterable[str]) -> dict[str, statements.Row]:
    """Read when images came, were relabelled and left, and their splits, by name."""
    columns = (Image.name, Image.ingested_at, Image.relabelled_at, Image.gone_at, Image.split)
    return {
        row["name"]: row
        for part in statements.batches(sorted(names))
        for row in statements.rows(connection, select(*columns).where(Image.name.in_(part)))
    }


@dataclass(frozen=True)
class CellFacts:
    """One cell with all its measures and what was decided about it."""

    cell_id: int
    name: str
    """``NAME:ID``."""
    labels: tuple[int, ...]
    measures: Mapping[tuple[str, str | None], float | None]
    decided: Mapping[int | None, str]
    """``keep`` or ``drop``, with the comment, by label; None is every label."""

    def value(self, measure: str, channel: str | None) -> float | None:
        """Value of a measure; None where the cell has none."""
        return self.measures.get((measure, channel))

    def flag(self, name: str) -> bool:
        """Whether the cell has one of the flags that rules know."""
        if name == "no_nucleus":
            return self.value("nucleus_area", None) == 0
        return bool(self.value(name, None))

    def override(self, label: int) -> str | None:
        """What was decided about the cell for a label."""
        return self.decided.get(label, self.decided.get(None))


def cell_facts(connection: Connection, name: str, mask_id: int) -> CellFacts | None:
    """Read one cell; None if the store has none of this name."""
    statement = select(Cell.__table__, Image.labels).join(Image)
    found = statements.rows(connection, statement.where(Image.name == name, Cell.mask_id == mask_id))
    if not found:
        return None
    cell = found[0]
    measures: dict[tuple[str, str | None], float | None] = {
        (measure, None): _number(cell[measure]) for measure in SHAPE_NAMES
    }
    of_cell = select(CellChannel.__table__).where(CellChannel.cell_id == cell["id"])
    for row in statements.rows(connection, of_cell):
        measures |= {(measure, row["channel"]): _number(row[measure]) for measure in CHANNEL_NAMES}
    own = select(Measure.name, CellMeasure.channel, CellMeasure.value).join(CellMeasure)
    for measure, channel, value in connection.execute(own.where(CellMeasure.cell_id == cell["id"])):
        measures[measure, channel or None] = value
    o = CellOverride
    decided = {
        label: ("keep" if keep else "drop") + (f": {comment}" if comment else "")
        for label, keep, comment in connection.execute(
            select(o.label_id, o.keep, o.comment).where(o.cell_id == cell["id"])
        )
    }
    return CellFacts(
        cell["id"], f"{name}:{mask_id}", decoding.label_ids(name, cell["labels"]), measures, decided
    )


def verdicts_on(connection: Connection, cell_id: int) -> list[statements.Row]:
    """Read all verdicts on a cell by clean set, version and label, with the sets' limits and splits."""
    verdict = CleanSetCell
    statement = (
        select(
            *(verdict.clean_set_id, CleanSet.name, CleanSet.version),
            *(CleanSet.min_green, CleanSet.min_cells, CleanSet.split),
            *(verdict.label_id, verdict.clean, verdict.reason),
        )
        .join(CleanSet, CleanSet.id == verdict.clean_set_id)
        .where(verdict.cell_id == cell_id)
    )
    return statements.rows(connection, statement.order_by(CleanSet.name, CleanSet.version, verdict.label_id))


def rank(
    connection: Connection,
    measure: str,
    channel: str | None,
    label: int,
    value: float,
    split: str | None = None,
) -> tuple[int, int]:
    """Place of a value among those of the cells of now of images whose only label it is, and their number.

    Only of images of a split, if one is given.
    """
    single = label_thresholds.label_values(measure, channel, split).where(ImageLabel.label_id == label)
    values = single.subquery("single")
    below = func.count(case((values.c.value < value, 1)))
    place, n = connection.execute(select(below + 1, func.count(values.c.value))).one()
    return place, n


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _labels(rule: Row) -> Sequence[int]:
    return range(len(LABEL_NAMES)) if rule["label_id"] is None else (rule["label_id"],)


def _shares(
    connection: Connection, measure: tuple[str, str | None], shares: set[float], split: str | None
) -> dict[int, tuple[int, dict[float, float]]]:
    """Number of values, and percentiles of them, by label."""
    names = {f"share_{i}": share for i, share in enumerate(sorted(shares))}
    return {
        row["label_id"]: (row["n"], {share: row[name] for name, share in names.items()})
        for row in label_thresholds.thresholds(connection, *measure, names, split=split)
    }


def _bound(rule: Row, side: str, values: Mapping[float, float]) -> float | None:
    """One side of a rule's bounds, from a label's percentiles; none where there are none."""
    share, value, median = (rule[f"{side}_{kind}"] for kind in ("percentile", "value", "median"))
    if share is not None:
        return values.get(share)
    if median is not None:
        return None if 0.5 not in values else median * values[0.5]
    return None if value is None else float(value)


def _kept_bounds(rules: Sequence[Row], kept: Mapping[tuple[int, int], Row]) -> list[dict[str, Any]]:
    return [
        {
            "rule_id": rule["id"],
            "label_id": label,
            **{
                name: stored_sets.find_bound(kept, (rule["position"], label), "clean_set_threshold")[name]
                for name in ("n", "lower", "upper")
            },
        }
        for rule in rules
        for label in _labels(rule)
    ]
