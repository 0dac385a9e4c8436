"""The data that a run was begun with, image by image, so that a change of them can be named."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from search.study.errors import StudyError, naming_damage
from search.study.settings import RunSettings
from trials.data import Dataset
from trials.data.dataset import sample_content
from trials.trial_result import read_json, write_json

DATA_FILE = "data.json"
"""In the run's folder."""

_Digests = Mapping[str, Mapping[str, str]]
"""Split to image's name to a digest of its sizes and annotations."""


def check_data(
    settings: RunSettings, dataset: Dataset, *, former: str | None, has_results: bool, notice: Callable[[str], None]
) -> None:
    """Refuse to resume with other data than a run began with, unless the user accepts that; record the present ones.

    Data may change as long as no training succeeded: the cause may have been a fault in the data, which is now repaired.

    Args:
        settings: The run's.
        dataset: The present data.
        former: Fingerprint of the data that the run began with; None for that of its file, if there is one.
        has_results: Whether a training succeeded.
        notice: Called with a note of what changed, where that is accepted.

    Raises:
        StudyError: with what changed.
        DamagedFileError: the run's file is no JSON.
    """
    path = settings.folder / DATA_FILE
    recorded: Mapping[str, object] = {}
    if path.is_file():
        recorded = read_json(path, hint="delete it: what changed in the data is then no longer known")
    former = former or str(recorded.get("fingerprint", dataset.fingerprint))
    if former == dataset.fingerprint == recorded.get("fingerprint"):
        return
    now = _digests(dataset)
    if former != dataset.fingerprint and has_results:
        changes = ""
        if recorded.get("fingerprint") == former:
            with naming_damage(path, "the data of a run"):
                changes = _describe(recorded["images"], now) or "the names or order of the classes"  # type: ignore[arg-type]
        changed = f"the data of {settings.name!r} changed since it began ({settings.dataset})"
        changed += f": {changes}" if changes else ""
        if not settings.accept_changed_data:
            raise StudyError(
                changed,
                hint="put the data back; or go on with --accept-changed-data, where finished trainings keep the scores of "
                "the former data and interrupted ones start over; or begin anew under another name",
            )
        notice(f"{changed}; finished trainings keep the scores of the former data, interrupted ones start over")
    write_json(path, {"fingerprint": dataset.fingerprint, "images": now})


def recorded_fingerprint(folder: Path) -> str:
    """Return the fingerprint of the data that a run's folder notes; empty where it notes none.

    Raises:
        DamagedFileError: the file is no JSON.
    """
    path = folder / DATA_FILE
    if not path.is_file():
        return ""
    return str(
        read_json(path, hint="delete it: what changed in the data is then no longer known").get("fingerprint", "")
    )


def _digests(dataset: Dataset) -> _Digests:
    return {
        split: {sample.name: hashlib.sha256(sample_content(sample)).hexdigest()[:8] for sample in samples}
        for split, samples in dataset.splits.items()
    }


def _describe(before: _Digests, now: _Digests) -> str:
    """Return how many images of which split are new, gone or changed, with the first of each; empty for none."""
    said = []
    for split in dict.fromkeys((*before, *now)):
        old, new = before.get(split, {}), now.get(split, {})
        changes = {
            "new": [name for name in new if name not in old],
            "gone": [name for name in old if name not in new],
            "changed": [name for name in new if name in old and old[name] != new[name]],
        }
        for how, names in changes.items():
            if names:
                said.append(f"{len(names)} of {split} {how}, first {names[0]}")
    return "; ".join(said)
