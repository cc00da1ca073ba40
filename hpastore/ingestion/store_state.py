"""What the store holds, as far as planning compares it with the inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import Connection

from hpastore.arguments import expanded
from hpastore.errors import RejectedError
from hpastore.ingestion.plan import make_plan
from hpastore.ingestion.policy import Policy
from hpastore.ingestion.remeasure import choose_settings
from hpastore.ingestion.roots import Roots, recognise_roots
from hpastore.ingestion.stamps import files_to_compare
from hpastore.ingestion.worker import compare_files
from hpastore.kernels.plugins import load_measures, required_measures
from hpastore.model import (
    Change,
    Inputs,
    MeasurementSettings,
    Plan,
    RequiredMeasures,
    Source,
    StoredImage,
)
from hpastore.store import custom_measures, image_records, measurement_settings, roots_and_splits
from hpastore.store.classes import read_classes
from hpastore.store.engine import Store
from hpastore.vocabulary import CHANNELS


@dataclass(frozen=True)
class StoreState:
    """What the store holds, and what a run may do to it.

    Parameters
    ----------
    images
        Stored images by name.
    rejected
        Rejected images by name.
    settings
        The settings that all numbers must have after the run.
    required
        The custom measures that all images must have after the run.
    policy
        What the run may do.
    roots
        Which stored roots are the root of the inputs.
    """

    images: Mapping[str, StoredImage]
    rejected: Mapping[str, image_records.Rejection]
    settings: MeasurementSettings
    required: RequiredMeasures
    policy: Policy
    roots: Roots = field(default_factory=Roots)

    def with_roots(
        self, store: Store, inputs: Inputs, moved_from: Sequence[str | Path]
    ) -> StoreState:
        """Recognise the stored roots that are the root of the inputs, and rename them to it.

        Raises
        ------
        NotFoundError, UsageError
            If one of `moved_from` is not stored, or has not moved here.
        """
        roots = self._recognise_roots(store, inputs, moved_from)
        moved = {one.root for one in roots.moved}
        origins = {name: image.root for name, image in self.images.items() if image.root in moved}
        policy = replace(self.policy, kept=roots.kept, origins=origins)
        if not roots.here:
            return replace(self, roots=roots, policy=policy)

        root = str(inputs.root)
        images = {
            name: image._replace(root=root) if image.root in roots.here else image
            for name, image in self.images.items()
        }
        rejected = {
            name: _with_root(rejection, root) if rejection.root in roots.here else rejection
            for name, rejection in self.rejected.items()
        }
        return replace(self, roots=roots, policy=policy, images=images, rejected=rejected)

    def _recognise_roots(
        self, store: Store, inputs: Inputs, moved_from: Sequence[str | Path]
    ) -> Roots:
        roots_of_rejected = {rejection.root for rejection in self.rejected.values()}
        former = store.read(roots_and_splits.ingested_roots) if moved_from else set()
        return recognise_roots(
            inputs,
            self.images,
            roots_of_rejected,
            [
                root
                for root in moved_from
                if not self._has_moved_before(root, former - roots_of_rejected)
            ],
            lambda names: store.read(
                lambda connection: image_records.file_hashes(connection, names)
            ),
            _has_same_channels,
        )

    def _has_moved_before(self, root: str | Path, former: set[str]) -> bool:
        """Whether a former root has no images now, as when --moved-from is given a second time."""
        current = {image.root for image in self.images.values()}
        spellings = {str(root), os.path.realpath(expanded(root))}
        return bool(spellings & former) and not spellings & current

    def compare(
        self, inputs: Inputs, compared: Mapping[str, tuple[str, ...]] | None = None
    ) -> Plan:
        """Compare with the inputs, see `make_plan`."""
        root = str(inputs.root)
        return make_plan(
            inputs,
            self.images,
            failed={
                name: r.failure for name, r in self.rejected.items() if not _is_readable_now(r)
            },
            failed_here=[name for name, r in self.rejected.items() if r.root == root],
            settings=self.settings,
            compared=compared,
            policy=self.policy,
            listed={name: r.failure for name, r in self.rejected.items()},
            required=self.required,
        )

    def compare_bytes(self, store: Store, inputs: Inputs, todo: Plan) -> dict[str, tuple[str, ...]]:
        """Compare the bytes of images if sizes and times do not tell; give the differing roles."""
        unsure = {
            change.source.name: change
            for change in (*todo.doubtful, *todo.changed)
            if files_to_compare(change, self.images[change.source.name])
        }
        if not unsure:
            return {}
        hashes = store.read(lambda connection: image_records.file_hashes(connection, list(unsure)))
        return {
            name: self._differing_roles(change, hashes.get(name, {}), inputs.root)
            for name, change in unsure.items()
        }

    def _differing_roles(
        self, change: Change, hashes: Mapping[str, str], root: Path
    ) -> tuple[str, ...]:
        """Give the roles of the files that differ; an unreadable file counts as different."""
        files = files_to_compare(change, self.images[change.source.name])
        stored = {file.role: hashes[file.role] for file in files if file.role in hashes}
        try:
            _, differing = compare_files(change.source._replace(files=files), stored, root)
        except RejectedError:
            return change.roles
        return tuple(role for role in change.roles if role not in stored or role in differing)


def read_state(store: Store, background_percentile: float | None, policy: Policy) -> StoreState:
    """Read what planning needs from the store.

    Parameters
    ----------
    store : Store
    background_percentile : float, optional
        Share 0..1 that numbers must have; by default the store's current one.
    policy : Policy
        What a run may do.
    """
    measures = load_measures()

    def read_all(connection: Connection) -> StoreState:
        settings = choose_settings(
            measurement_settings.current_settings(connection), background_percentile
        )
        images = image_records.known_images(connection, read_classes(connection))
        if measures:
            custom_measures.refuse_imported(connection, measures)
            images = custom_measures.with_measures(connection, images)
        if policy.binary_mask:
            for name in image_records.images_in_pieces(connection):
                images[name] = images[name]._replace(in_pieces=True)
        if columns := (*policy.keep_columns, *policy.drop_columns):
            for name, values in image_records.columns_of_images(connection, columns).items():
                images[name] = images[name]._replace(columns=values)
        required = required_measures(measures)
        return StoreState(
            images, image_records.rejected_images(connection), settings, required, policy
        )

    return store.read(read_all)


def _with_root(rejection: image_records.Rejection, root: str) -> image_records.Rejection:
    """Move a rejected image to another root; its message names the file there."""
    failure = rejection.failure
    message = failure.message.replace(f"{rejection.root}/", f"{root}/")
    return rejection._replace(root=root, failure=replace(failure, message=message))


def _has_same_channels(source: Source, hashes: Mapping[str, str], root: Path) -> bool:
    """Whether an image's channels have the stored bytes."""
    files = tuple(file for file in source.files if file.role in CHANNELS)
    stored = {role: sha256 for role, sha256 in hashes.items() if role in CHANNELS}
    try:
        _, differing = compare_files(source._replace(files=files), stored, root)
    except RejectedError:
        return False
    return not differing


def _is_readable_now(rejection: image_records.Rejection) -> bool:
    """Whether files that could not be read can be now, which their times do not show."""
    failure = rejection.failure
    if failure.code not in ("io", "changed", "missing_file"):
        return False
    root = Path(rejection.root)
    return all(
        os.access(root / file.uri, os.R_OK) and (root / file.uri).is_file()
        for file in failure.files
    )
