"""Compare the inputs with the store, and say what has to be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from hpastore.ingestion.failures import conflict, duplicate_name, is_listed, missing_files
from hpastore.ingestion.policy import Policy
from hpastore.ingestion.safeguard import reason_to_stop
from hpastore.ingestion.stamps import differing_roles, sizes
from hpastore.kernels.versions import remeasured_settings, unmeasured
from hpastore.model import (
    Change,
    Failure,
    Inputs,
    MeasurementSettings,
    Orphan,
    Plan,
    RequiredMeasures,
    Source,
    StoredImage,
)
from hpastore.text import short_list


def make_plan(
    inputs: Inputs,
    stored: Mapping[str, StoredImage],
    failed: Mapping[str, Failure] | None = None,
    failed_here: Iterable[str] = (),
    settings: MeasurementSettings | None = None,
    compared: Mapping[str, tuple[str, ...]] | None = None,
    *,
    policy: Policy | None = None,
    listed: Mapping[str, Failure] | None = None,
    required: RequiredMeasures | None = None,
) -> Plan:
    """Compare the inputs with the store.

    Parameters
    ----------
    inputs : Inputs
        From `hpastore.ingestion.discover.discover`.
    stored : mapping of name to StoredImage
        What the store holds.
    failed : mapping of name to Failure
        Rejected images that are not tried again while their files are unchanged.
    failed_here : iterable of str
        Names of rejected images of this root.
    settings : MeasurementSettings, optional
        Current settings; numbers with other settings are stale.
    compared : mapping of name to roles, optional
        Roles of the files whose bytes differ, of images whose bytes were compared; empty if all
        bytes are the same.  Without it, images that only their bytes tell about are
        `Plan.doubtful`.
    policy : Policy
        What the run may do.
    listed : mapping of name to Failure, optional
        All rejected images of the store; by default `failed`.
    required : RequiredMeasures, optional
        Custom measures; images that lack one are stale or unmeasured.

    Returns
    -------
    Plan
        A pure function of its arguments; a plan made after it was carried out has no work.
    """
    failed = failed or {}
    draft = _Draft(
        inputs,
        stored,
        failed,
        settings,
        compared or {},
        required or RequiredMeasures(),
        policy or Policy(),
    )
    for source in inputs.sources:
        draft.add(source)
    return draft.finish(failed_here, failed if listed is None else listed)


class _Comparison(NamedTuple):
    """What images with some settings lack."""

    unmeasured: tuple[str, ...] = ()
    """Measures that need pixels."""
    stale: bool = False
    """Whether numbers must be computed again from histograms."""


def _compare(stored: MeasurementSettings, required: MeasurementSettings | None) -> _Comparison:
    if required is None:
        return _Comparison()
    stale = remeasured_settings(stored, required) != stored
    return _Comparison(unmeasured(stored, required), stale)


@dataclass
class _Draft:
    """A plan in the making."""

    inputs: Inputs
    stored: Mapping[str, StoredImage]
    failed: Mapping[str, Failure]
    settings: MeasurementSettings | None
    compared: Mapping[str, tuple[str, ...]]
    required: RequiredMeasures
    policy: Policy
    new: list[Source] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    doubtful: list[Change] = field(default_factory=list)
    unmeasured: list[Source] = field(default_factory=list)
    relabelled: list[Source] = field(default_factory=list)
    rejected: dict[str, Failure] = field(default_factory=dict)
    returned: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    resplit: list[str] = field(default_factory=list)
    other_split: Counter[str] = field(default_factory=Counter)
    orphans: list[Orphan] = field(default_factory=list)
    unchanged: int = 0
    unchanged_files: int = 0
    comparisons: dict[int, _Comparison] = field(default_factory=dict)
    """By the identity of settings."""

    @cached_property
    def root(self) -> str:
        return str(self.inputs.root)

    @cached_property
    def present(self) -> set[str]:
        """Names of the images that have files in the inputs."""
        names = {source.name for source in self.inputs.sources if source.has_image}
        return names | {name for name, files in self.inputs.refused.items() if files}

    @cached_property
    def gone(self) -> list[str]:
        """Names of this root's live images that are missing in the inputs."""
        return [name for name in self.missing if not self.stored[name].gone]

    @cached_property
    def missing(self) -> list[str]:
        """Names of this root's images that are missing in the inputs, also those marked before."""
        if not self.inputs.complete:
            return []
        return sorted(
            name
            for name, image in self.stored.items()
            if image.root == self.root and name not in self.present
        )

    @cached_property
    def live_names(self) -> dict[str, str]:
        """Names of the images that stay live, by the name without regard to case."""
        gone = set(self.gone)
        return {
            name.casefold(): name
            for name, image in self.stored.items()
            if not image.gone and name not in gone
        }

    def add(self, source: Source) -> None:
        """Put one image of the inputs where it belongs."""
        image = self.stored.get(source.name)
        if not source.has_image:
            self.orphans.append(Orphan("label_without_image", source.name, len(source.files)))
            return

        same_files = image is not None and self._has_same_files(source, image)
        failure = self._find_failure(source, image, same_files)
        if failure is not None:
            self._reject(failure, source, image)
        elif image is None:
            self.new.append(source)
        elif same_files:
            self._add_same_files(source, image)
        else:
            self._add_other_files(source, image)

        has_duplicate_name = failure is not None and failure.code == "duplicate"
        in_this_root = (
            same_files or source.name in self.moved[-1:] or (image and image.root == self.root)
        )
        if image is not None and not has_duplicate_name and in_this_root:
            self._add_split(source, image)

    def _has_same_files(self, source: Source, image: StoredImage) -> bool:
        return image.files == source.files or self.compared.get(source.name) == ()

    def _find_failure(
        self, source: Source, image: StoredImage | None, same_files: bool
    ) -> Failure | None:
        """Say why an image is rejected, as far as that is known without its bytes."""
        if source.missing and not same_files:
            return missing_files(source)
        tried = self.failed.get(source.name)
        if (
            tried
            and self._is_tried(source, image, same_files)
            and self._would_fail_again(source, tried)
        ):
            return tried
        if image is None or image.gone:
            # No two live names may differ only in case: exports would write one file for both.
            other = self.live_names.get(source.name.casefold())
            if other is not None:
                return duplicate_name(source, other)
        return None

    def _would_fail_again(self, source: Source, tried: Failure) -> bool:
        """Whether trying again would fail as before: neither files nor options have changed."""
        if tried.files != source.files:
            return False
        if tried.code == "conflict":
            return self._is_in_other_root(self.stored.get(source.name))
        return not (tried.code == "nucleus_ids" and self.policy.changes_ids)

    def _is_tried(self, source: Source, image: StoredImage | None, same_files: bool) -> bool:
        """Whether an image would be decoded; with unchanged files only if its pixels are needed."""
        if image is None or not same_files:
            return True
        if source.name in self.policy.kept or self._is_outdated(image):
            return False
        return bool(self.policy.reread_reason(image)) or self._lacks_custom_measure(image)

    def _lacks_custom_measure(self, image: StoredImage) -> bool:
        return not self.required.of_crops <= image.measures

    def _is_outdated(self, image: StoredImage) -> bool:
        """Whether only its pixels can give an image all built-in measures."""
        return bool(self._unmeasured(image))

    def _unmeasured(self, image: StoredImage) -> tuple[str, ...]:
        return self._compare_settings(image).unmeasured

    def _compare_settings(self, image: StoredImage) -> _Comparison:
        """Compare an image's settings with the required ones; many images share few settings."""
        key = id(image.settings)
        if key not in self.comparisons:
            self.comparisons[key] = _compare(image.settings, self.settings)
        return self.comparisons[key]

    def _is_in_other_root(self, image: StoredImage | None) -> bool:
        """Whether another root has a live image of this name; one that is gone does not count."""
        return image is not None and not image.gone and image.root != self.root

    def _add_split(self, source: Source, image: StoredImage) -> None:
        """Give an image the requested split if it has none, or if the policy allows another."""
        requested = self.inputs.split
        if requested is None or requested == image.split or source.name in self.policy.kept:
            return
        if image.split is None or self.policy.resplit:
            self.resplit.append(source.name)
        else:
            self.other_split[image.split] += 1

    def _reject(self, failure: Failure, source: Source, image: StoredImage | None) -> None:
        """Reject an image; a stored one has moved if one of its files is the same in this root."""
        self.rejected[source.name] = failure
        if failure.code == "conflict" or source.name in self.policy.kept:
            return
        if (
            image is not None
            and self._is_in_other_root(image)
            and set(image.files) & set(source.files)
        ):
            self.moved.append(source.name)

    def _add_same_files(self, source: Source, image: StoredImage) -> None:
        if source.name in self.policy.kept:
            self.unchanged += 1
            self.unchanged_files += len(source.files)
        elif self._is_outdated(image):
            lacking = short_list(self._unmeasured(image))
            self.changed.append(Change(source, (), f"lacks the current version of {lacking}"))
        elif reason := self.policy.reread_reason(image):
            self.changed.append(Change(source, (), reason))
        elif self._lacks_custom_measure(image):
            self.unmeasured.append(source)
        else:
            self._add_unchanged(source, image)

    def _add_unchanged(self, source: Source, image: StoredImage) -> None:
        self.unchanged_files += len(source.files)
        if image.labels != source.labels or source.columns_after(image.columns) != image.columns:
            self.relabelled.append(source)
            return
        self.unchanged += 1
        if image.gone:
            self.returned.append(source.name)
        if image.root != self.root:
            self.moved.append(source.name)

    def _add_other_files(self, source: Source, image: StoredImage) -> None:
        was_compared = source.name in self.compared
        roles = self.compared.get(source.name) or differing_roles(source.files, image.files)
        if not was_compared and sizes(source.files) == sizes(image.files):
            self.doubtful.append(Change(source, roles))
        elif self._is_in_other_root(image):
            self.rejected[source.name] = conflict(source, image.root)
        else:
            self.changed.append(Change(source, roles))

    def finish(self, failed_here: Iterable[str], listed: Mapping[str, Failure]) -> Plan:
        """Add what the store has and the inputs lack."""
        rejected = {failure.image_name: failure for failure in self.inputs.failures}
        rejected |= self.rejected
        pruned = self._pruned()
        return Plan(
            new=tuple(self.new),
            changed=tuple(self.changed),
            doubtful=tuple(self.doubtful),
            unmeasured=tuple(self.unmeasured),
            relabelled=tuple(self.relabelled),
            unchanged=self.unchanged,
            unchanged_files=self.unchanged_files,
            rejected=tuple(rejected.values()),
            rejected_before=sum(is_listed(failure, listed) for failure in rejected.values()),
            gone=tuple(self.gone),
            pruned=tuple(pruned),
            stale=tuple(self._stale(pruned)),
            returned=tuple(self.returned),
            moved=tuple(self.moved),
            recovered=tuple(self._recovered(failed_here, rejected)),
            orphans=(*self.inputs.orphans, *self.orphans),
            resplit=tuple(self.resplit),
            other_split=dict(self.other_split),
            stopped=reason_to_stop(self.inputs, self.stored, self.policy, self.gone),
        )

    def _pruned(self) -> list[str]:
        if not self.policy.prune:
            return []
        # Nothing of a root that seems to have moved is deleted at once: its disk may come back.
        return [name for name in self.missing if name not in self.policy.origins]

    def _stale(self, pruned: Iterable[str]) -> list[str]:
        """Name the images whose numbers must be computed from their histograms."""
        replaced = {change.source.name for change in self.changed}
        unmeasured = {source.name for source in self.unmeasured}
        skipped = {*pruned, *replaced}
        return sorted(
            name
            for name, image in self.stored.items()
            if name not in skipped and self._is_stale(image, measured=name in unmeasured)
        )

    def _is_stale(self, image: StoredImage, *, measured: bool) -> bool:
        """Whether numbers are stale; an image that is measured gets its custom measures then."""
        if not measured and not self.required.of_histograms <= image.measures:
            return True
        return self._compare_settings(image).stale

    def _recovered(self, failed_here: Iterable[str], rejected: Mapping[str, Failure]) -> list[str]:
        """Name the listed failures that are resolved without any work."""
        sources = (*self.new, *self.relabelled, *self.unmeasured)
        pending = {*rejected, *(source.name for source in sources)}
        pending |= {change.source.name for change in (*self.changed, *self.doubtful)}
        recovered = set(failed_here) - pending
        if not self.inputs.complete:
            recovered &= {source.name for source in self.inputs.sources}
        return sorted(recovered)
