"""What the store remembers, and what that means for the inputs of now."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from hpastore.arguments import expanded
from hpastore.errors import RejectedError, UsageError
from hpastore.ingestion.discover import Layout
from hpastore.ingestion.plan import Policy, make_plan
from hpastore.ingestion.remeasure import choose_settings
from hpastore.ingestion.roots import Roots, recognise_roots
from hpastore.ingestion.worker import compare
from hpastore.kernels.plugins import load_measures, required_measures
from hpastore.model import Inputs, MeasurementSettings, Plan, RequiredMeasures, Source, StoredImage
from hpastore.store import custom_measures, read
from hpastore.store.engine import Store
from hpastore.store.status import warn_of_missing_root
from hpastore.text import printable
from hpastore.vocabulary import CHANNELS

logger = logging.getLogger(__name__)

ALL: Final = "all"
"""Given as `allow_gone`: any number of images may be gone."""


@dataclass(frozen=True)
class StoreState:
    """What the store remembers, and what its numbers shall be."""

    known: Mapping[str, StoredImage]
    rejected: Mapping[str, read.Rejection]
    settings: MeasurementSettings
    required: RequiredMeasures
    policy: Policy
    roots: Roots = field(default_factory=Roots)

    def at(self, store: Store, found: Inputs, moved_from: Sequence[str | Path]) -> StoreState:
        """Take the stored roots that are the one that was given for it."""
        others = {rejection.root for rejection in self.rejected.values()}
        former = store.read(read.roots_of_runs) if moved_from else set()
        roots = recognise_roots(
            found,
            self.known,
            others,
            [root for root in moved_from if not _has_moved_before(root, former - others, self.known)],
            lambda names: store.read(lambda connection: read.file_hashes(connection, names)),
            _has_channels,
        )
        moved = {one.root for one in roots.moved}
        origins = {name: stored.root for name, stored in self.known.items() if stored.root in moved}
        policy = replace(self.policy, kept=roots.kept, origins=origins)
        if not roots.here:
            return replace(self, roots=roots, policy=policy)
        here = str(found.root)
        known = {
            name: stored._replace(root=here) if stored.root in roots.here else stored
            for name, stored in self.known.items()
        }
        rejected = {
            name: _moved(rejection, here) if rejection.root in roots.here else rejection
            for name, rejection in self.rejected.items()
        }
        return replace(self, roots=roots, policy=policy, known=known, rejected=rejected)

    def plan(self, found: Inputs, compared: Mapping[str, tuple[str, ...]] | None = None) -> Plan:
        """Compare with what is found."""
        root = str(found.root)
        mine = [name for name, rejection in self.rejected.items() if rejection.root == root]
        listed = {name: rejection.failure for name, rejection in self.rejected.items()}
        failed = {name: r.failure for name, r in self.rejected.items() if not _readable_now(r)}
        return make_plan(
            found,
            self.known,
            failed,
            mine,
            self.settings,
            compared,
            policy=self.policy,
            listed=listed,
            required=self.required,
        )


def _has_moved_before(root: str | Path, former: set[str], known: Mapping[str, StoredImage]) -> bool:
    """Whether a root was ingested once and has no image any more, as where a command is repeated."""
    here = {stored.root for stored in known.values()}
    spelt = {str(root), os.path.realpath(expanded(root))}
    return bool(spelt & former) and not spelt & here


def _moved(rejection: read.Rejection, root: str) -> read.Rejection:
    """Let a rejected image be of another root; its message names the file there."""
    failure = rejection.failure
    message = failure.message.replace(f"{rejection.root}/", f"{root}/")
    return rejection._replace(root=root, failure=replace(failure, message=message))


def choose_policy(layout: Layout, *, prune: bool, resplit: bool, allow_gone: int | str) -> Policy:
    """Say what a run may do, by what it was given.

    Raises
    ------
    UsageError
        If an argument makes no sense.
    """
    if resplit and layout.split is None:
        raise UsageError("--resplit needs the split to give: --split NAME")
    allowed = sys.maxsize if allow_gone == ALL else allow_gone
    if not isinstance(allowed, int) or allowed < 0:
        raise UsageError(f"invalid --allow-gone {allow_gone!r} (give a number of images, or all)")
    return Policy(prune, allowed, resplit, layout.binary_mask, layout.match_nuclei)


def _has_channels(source: Source, hashes: Mapping[str, str], root: Path) -> bool:
    """Whether the channels that are found have the bytes that are stored."""
    files = tuple(file for file in source.files if file.role in CHANNELS)
    stored = {role: sha256 for role, sha256 in hashes.items() if role in CHANNELS}
    try:
        return not compare(source._replace(files=files), stored, root)[1]
    except RejectedError:
        return False


def warn_of_roots(memory: StoreState, found: Inputs) -> None:
    """Say which roots have moved here, which do not exist any more, and which images stay in another."""
    roots = memory.roots
    for one in roots.moved:
        logger.info("%s has moved to %s, with its %d images", printable(one.root, None), found.root, one.live)
    for root, count in sorted(Counter(memory.known[name].root for name in roots.kept).items()):
        logger.info("%d images are stored from %s, where they still are, and stay there", count, root)
    strays = {one.root: one.met for one in roots.strays}
    for root, live in roots.missing.items():
        warn_of_missing_root(root, live, strays.get(root, 0))


def warn_of_splits(todo: Plan, found: Inputs, known: Mapping[str, StoredImage]) -> None:
    """Say how many images keep a split that is not the one given, or have none where others have one."""
    if todo.other_split:
        splits = ", ".join(f"{count} {split}" for split, count in sorted(todo.other_split.items()))
        logger.warning(
            "%d images keep their split, which is not %s (%s); --resplit changes it",
            *(sum(todo.other_split.values()), found.split, splits),
        )
    if found.split is not None or not todo.new:
        return
    here = str(found.root)
    others = Counter(stored.split for stored in known.values() if stored.root == here and not stored.gone)
    del others[None]
    if others:
        splits = ", ".join(f"{count} {split}" for split, count in sorted(others.items()) if split)
        logger.warning(
            "%d new images have no split, and others of their root have one (%s); --split NAME gives it",
            *(len(todo.new), splits),
        )


def remember(store: Store, background_percentile: float | None, policy: Policy) -> StoreState:
    """Read what the store remembers.

    Parameters
    ----------
    store : Store
    background_percentile : float, optional
        Share 0..1 that numbers shall be of; by default the store's own.
    policy : Policy
        What a run may do.
    """
    users = load_measures()

    def remember(connection: Connection) -> StoreState:
        recipe = choose_settings(read.current_settings(connection), background_percentile)
        known = read.known_images(connection)
        if users:
            known = custom_measures.with_measures(connection, known)
        if policy.binary_mask:
            known |= {name: known[name]._replace(in_pieces=True) for name in read.in_pieces(connection)}
        return StoreState(known, read.rejected(connection), recipe, required_measures(users), policy)

    return store.read(remember)


def _readable_now(rejection: read.Rejection) -> bool:
    """Whether files that could not be read may be now, of which their times tell nothing."""
    failure, root = rejection.failure, Path(rejection.root)
    if failure.code not in ("io", "changed", "missing_file"):
        return False
    return all(os.access(root / f.uri, os.R_OK) and (root / f.uri).is_file() for f in failure.files)
