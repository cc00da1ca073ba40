"""Messages about a run: what is unusual in its inputs, and what it does to stored images."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from hpastore.ingestion.store_state import StoreState
from hpastore.model import Inputs, Plan, StoredImage
from hpastore.store.status import warn_of_missing_root
from hpastore.text import count_text, printable

logger = logging.getLogger(__name__)


def log_before(inputs: Inputs, todo: Plan, state: StoreState) -> None:
    """Log all that is unusual before a run begins."""
    if state.policy.prune and not inputs.complete:
        logger.warning("--prune deletes nothing: with --limit, no image counts as gone")
    log_inputs(inputs, todo, state.images)
    log_roots(state, inputs)
    log_splits(todo, inputs, state.images)
    log_columns(state)


def log_inputs(inputs: Inputs, todo: Plan, stored: Mapping[str, StoredImage]) -> None:
    """Log repeated labels, near names, images without a row, and images that lose their labels."""
    if inputs.repeated:
        rows = count_text(inputs.repeated, "row names", "rows name")
        logger.info("%s a label twice, which counts once", rows)
    if inputs.near:
        logger.warning("%s", inputs.near)

    names = [orphan.name for orphan in todo.orphans if orphan.kind == "image_without_label"]
    if names:
        has = count_text(len(names), "image has", "images have")
        verb = "is" if len(names) == 1 else "are"
        logger.info("%s no row in the table and %s not ingested%s", has, verb, _first_of(names))
    lost = sum(stored[source.name].labels != () and not source.labels for source in todo.relabelled)
    if lost:
        lose = count_text(lost, "image loses its labels", "images lose their labels")
        logger.warning("%s, since this run has none (--labels none)", lose)


def log_pruned(images: int, verdicts: int) -> None:
    """Warn of verdicts on deleted images."""
    logger.warning(
        "%s deleted; clean sets keep %s on %s",
        count_text(images, "gone image was", "gone images were"),
        count_text(verdicts, "verdict"),
        "it" if images == 1 else "them",
    )


def log_roots(state: StoreState, inputs: Inputs) -> None:
    """Log roots that have moved here or no longer exist, and images that stay in another root."""
    roots = state.roots
    for moved in roots.moved:
        logger.info(
            "%s has moved to %s, with its %s",
            printable(moved.root, None),
            inputs.root,
            count_text(moved.live, "image"),
        )
    kept = Counter(state.images[name].root for name in roots.kept)
    for root, count in sorted(kept.items()):
        are = count_text(count, "image is", "images are")
        their, stay = ("its", "stays") if count == 1 else ("their", "stay")
        logger.info(
            "%s stored from %s, where %s files still exist, and %s there", are, root, their, stay
        )
    found_here = {stray.root: stray.found for stray in roots.strays}
    for root, live in roots.missing.items():
        warn_of_missing_root(root, live, found_here.get(root, 0))


def log_splits(todo: Plan, inputs: Inputs, stored: Mapping[str, StoredImage]) -> None:
    """Warn of images that keep a split other than the requested one, and of new ones without."""
    if todo.other_split:
        keep = count_text(
            sum(todo.other_split.values()), "image keeps its split", "images keep their split"
        )
        logger.warning(
            "%s, which is not %s (%s); --resplit changes it",
            keep,
            inputs.split,
            _counts_text(todo.other_split),
        )
    if inputs.split is not None or not todo.new:
        return

    root = str(inputs.root)
    splits = Counter(
        image.split
        for image in stored.values()
        if image.root == root and not image.gone and image.split is not None
    )
    if splits:
        logger.warning(
            "%s no split, but other images of this root have one (%s); give it with --split NAME",
            count_text(len(todo.new), "new image has", "new images have"),
            _counts_text(splits),
        )


def log_columns(state: StoreState) -> None:
    """Warn of columns to drop that no image has."""
    stored = {name for image in state.images.values() for name in image.columns}
    for name in state.policy.drop_columns:
        if name not in stored:
            logger.warning("no image has a column %r; --drop-column drops nothing", name)


def _first_of(names: Sequence[str]) -> str:
    return f": {names[0]}" if len(names) == 1 else f", such as {names[0]}"


def _counts_text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
