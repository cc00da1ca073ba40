"""From a plan to the images that the workers process."""

from __future__ import annotations

from collections.abc import Mapping

from hpastore.ingestion.store_state import StoreState
from hpastore.ingestion.worker import Task
from hpastore.kernels.versions import unmeasured
from hpastore.model import Change, Plan


def make_tasks(
    todo: Plan, state: StoreState, hashes: Mapping[str, Mapping[str, str]], root: str
) -> list[Task]:
    """List the images to decode or to compare, by name.

    Parameters
    ----------
    todo : Plan
    state : StoreState
    hashes : mapping of name to SHA-256 by role
        Stored files of the images in `todo.doubtful`.
    root : str
        The root of the inputs.

    Returns
    -------
    list of Task
    """
    tasks = [
        *(Task(source, {}, masks=state.policy.masks()) for source in todo.new),
        *(Task(source, {}, masks=state.images[source.name].masks) for source in todo.unmeasured),
        *(_replace_task(change, state) for change in todo.changed),
        *(
            _compare_task(change, state, hashes.get(change.source.name, {}), root)
            for change in todo.doubtful
        ),
    ]
    return sorted(tasks, key=lambda task: task.source.name)


def _replace_task(change: Change, state: StoreState) -> Task:
    stored = state.images[change.source.name]
    return Task(change.source, {}, masks=state.policy.masks(stored.masks))


def _compare_task(change: Change, state: StoreState, hashes: Mapping[str, str], root: str) -> Task:
    """Make the task of an image that is decoded only if its bytes or its numbers require it."""
    name = change.source.name
    stored = state.images[name]
    reread = bool(state.policy.reread_reason(stored))
    lacks_custom = not state.required.of_crops <= stored.measures
    lacks_built_in = bool(unmeasured(stored.settings, state.settings))
    outdated = reread or lacks_custom or lacks_built_in
    return Task(
        change.source,
        hashes,
        other_root=stored.root if stored.root != root and not stored.gone else None,
        outdated=outdated and name not in state.policy.kept,
        # With only a measure to add, the cells stay as they are, and so do their masks.
        masks=stored.masks if lacks_custom and not reread else state.policy.masks(stored.masks),
    )
