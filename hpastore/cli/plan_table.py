"""Print a plan: a table of images with what is done and why, and the rejected images below."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from hpastore.cli import show
from hpastore.cli.failure_list import print_failures
from hpastore.cli.table import print_table
from hpastore.text import printable
from hpastore.vocabulary import ORPHANS

if TYPE_CHECKING:
    from hpastore.model import Change, Orphan, Plan, Source

_KINDS: Final = (
    *("new", "changed", "unmeasured", "relabelled", "gone", "pruned", "returned", "resplit"),
    *("stale", "rejected", "orphans"),
)


def show_plan(plan: Plan) -> None:
    """Print a plan as text, or as a JSON document with --json."""
    if plan.stopped:
        show.message(f"ingest would refuse: {plan.stopped}")
    if show.settings.json:
        show.document(_document(plan))
        return
    rows = sorted(_rows(plan))
    if rows:
        print_table(["image", "what", "why"], rows)
        show.line()
    if plan.rejected:
        print_failures(
            (failure.image_name, failure.code, failure.message) for failure in plan.rejected
        )
        show.line()
    counts = {kind: len(getattr(plan, kind)) for kind in _KINDS}
    show.lines({**counts, "unchanged": plan.unchanged})
    if any(failure.files for failure in plan.rejected):
        show.message(
            "images that were rejected before are tried again when their files change, "
            "or after 'hpastore retry'"
        )


def _rows(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Give image, what is done, and why."""
    yield from ((source.name, "new", "") for source in plan.new)
    yield from ((change.source.name, "changed", _why_changed(change)) for change in plan.changed)
    for source in plan.unmeasured:
        yield source.name, "unmeasured", "lacks a custom measure of pixels"
    yield from ((source.name, "relabelled", _why_relabelled(source)) for source in plan.relabelled)
    without_row = {orphan.name for orphan in plan.orphans if orphan.kind == "image_without_label"}
    for name in plan.gone:
        yield name, "gone", "no row in the table" if name in without_row else "no files"
    yield from ((name, "pruned", "gone, will be deleted") for name in plan.pruned)
    yield from ((name, "returned", "was gone, is back unchanged") for name in plan.returned)
    yield from ((name, "resplit", "gets another split") for name in plan.resplit)
    stale = "other background percentile, or lacks a measure of histograms"
    yield from ((name, "stale", stale) for name in plan.stale)
    yield from ((failure.image_name, "rejected", failure.code) for failure in plan.rejected)
    yield from ((orphan.name, "orphan", _why_orphan(orphan)) for orphan in plan.orphans)


def _why_changed(change: Change) -> str:
    if not change.roles:
        return change.why
    return f"{', '.join(change.roles)} {'differs' if len(change.roles) == 1 else 'differ'}"


def _why_relabelled(source: Source) -> str:
    labels = f"labels {'|'.join(map(str, source.labels))}"
    if source.columns:
        # Labels and columns as they will be; which of them differ, the plan does not say.
        columns = (f"{n} {printable(v, 40)}" if v else f"no {n}" for n, v in source.columns)
        return ", ".join((labels if source.labels else "no labels", *columns))
    return f"{labels} in the table" if source.labels else "no labels any more"


def _why_orphan(orphan: Orphan) -> str:
    files = f" (files: {orphan.files})" if orphan.files else ""
    return ORPHANS[orphan.kind] + files


def _document(plan: Plan) -> dict[str, Any]:
    lists = ("gone", "pruned", "returned", "resplit", "stale", "unchanged")
    return {
        "new": [source.name for source in plan.new],
        "changed": [change.source.name for change in plan.changed],
        "changed_files": {change.source.name: change.roles for change in plan.changed},
        "unmeasured": [source.name for source in plan.unmeasured],
        "relabelled": [source.name for source in plan.relabelled],
        **{kind: getattr(plan, kind) for kind in lists},
        "rejected": [
            {
                "image_name": failure.image_name,
                "uri": failure.uri,
                "code": failure.code,
                "message": failure.message,
            }
            for failure in plan.rejected
        ],
        "orphans": [orphan._asdict() for orphan in plan.orphans],
        "stopped": plan.stopped,
        "warnings": list(show.settings.warnings),
    }
