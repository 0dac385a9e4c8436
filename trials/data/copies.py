"""Images that are in two splits under different names, so that a score on one says too much (leakage)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from spaces.counted import counted
from trials.data.dataset import Dataset, Sample, roboflow_source
from trials.data.images.look import Look, find_same_pictures

CopyKind = Literal["file", "picture", "source"]
"""The same bytes; the same picture encoded anew, resized, brighter or darker; another version that Roboflow made of it."""

_ALL_PAIRS = "yoloret-nas data PATH --json"


@dataclass(frozen=True, kw_only=True)
class Copy:
    """An image of which another split has a copy."""

    kind: CopyKind
    """How alike the two are."""
    split: str
    """The later split, in the order train, val, test."""
    name: str
    """The image in it."""
    other_split: str
    """The earlier split."""
    other_name: str
    """The image in that."""


def find_copies(dataset: Dataset, looks: Mapping[str, Look]) -> tuple[Copy, ...]:
    """Return the images that are in two splits, each once for a pair of splits, as the nearest kind of copy.

    The same picture turned, mirrored or cropped is not found, but for Roboflow's versions, which their names tell.

    Args:
        dataset: Any.
        looks: Looks by the samples' names; samples without one, such as generated ones, are not compared.
    """
    splits = {name: [s for s in samples if s.name in looks] for name, samples in dataset.splits.items()}
    return tuple(
        copy
        for earlier, later in combinations(splits, 2)
        for copy in _between(earlier, splits[earlier], later, splits[later], looks)
    )


def describe_copies(dataset: Dataset, looks: Mapping[str, Look], copies: Sequence[Copy]) -> list[str]:
    """Return a sentence on the copies between each two splits, and on files that a split holds twice.

    Args:
        dataset: Any.
        looks: Looks by the samples' names.
        copies: What `find_copies` returns for both.
    """
    notes = []
    for earlier, later in combinations(dataset.splits, 2):
        found = [copy for copy in copies if (copy.other_split, copy.split) == (earlier, later)]
        exact = sorted((copy for copy in found if copy.kind != "source"), key=lambda copy: copy.kind)
        if exact:
            num_files = sum(copy.kind == "file" for copy in exact)
            same = f" ({counted(num_files, 'is|are')} the same file)" if num_files else ""
            notes.append(
                f"leakage: {counted(len(exact), f'image(s) of {later} shows|show')} the same picture as one of {earlier}"
                f"{same}, first {exact[0].name} ({later}) and "
                f"{exact[0].other_name} ({earlier}): delete the {earlier} image of each pair, else the AP on {later} is too "
                f"high (all pairs: {_ALL_PAIRS})"
            )
        versions = [copy for copy in found if copy.kind == "source"]
        if versions:
            notes.append(
                f"leakage: {counted(len(versions), f'image(s) of {later} is|are')} among Roboflow's versions of pictures "
                f"that {earlier} has too, first {versions[0].name} and {versions[0].other_name}: divide the pictures first, "
                f"then make versions (all pairs: {_ALL_PAIRS})"
            )
    for split, samples in dataset.splits.items():
        counts = Counter(looks[sample.name].digest for sample in samples if sample.name in looks)
        if repeated := sum(count - 1 for count in counts.values()):
            words = counted(repeated, "image(s) repeats|repeat a file of the same split and counts|count several times")
            notes.append(f"{split}: {words}")
    return notes


def _between(
    earlier: str, others: Sequence[Sample], later: str, samples: Sequence[Sample], looks: Mapping[str, Look]
) -> list[Copy]:
    names = {sample.name for sample in others}
    samples = [sample for sample in samples if sample.name not in names]  # the dataset's own notes count those
    by_digest = {looks[sample.name].digest: sample.name for sample in reversed(others)}
    by_source = {source: sample.name for sample in reversed(others) if (source := roboflow_source(sample.name))}
    pictures = find_same_pictures([looks[s.name] for s in samples], [looks[s.name] for s in others])
    copies = []
    for sample, index in zip(samples, pictures, strict=True):
        kinds: dict[CopyKind, str | None] = {
            "file": by_digest.get(looks[sample.name].digest),
            "picture": None if index is None else others[index].name,
            "source": by_source.get(roboflow_source(sample.name)),
        }
        kind, name = next(((kind, name) for kind, name in kinds.items() if name), (None, None))
        if kind and name:
            copies.append(Copy(kind=kind, split=later, name=sample.name, other_split=earlier, other_name=name))
    return copies
