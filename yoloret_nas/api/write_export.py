"""The export of a trial, and its registration: what the command and the method have in common."""

from dataclasses import dataclass
from pathlib import Path

from search.strategy.estimates import with_estimates
from search.study.read_study import ReadStudy
from search.study.record import TrialRecord
from search.tracking.registry import check_model_name, register_export
from yoloret_nas.export.export_options import ExportOptions
from yoloret_nas.export.export_trial import export_trial
from yoloret_nas.export.model_card import Card


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An export that was written."""

    folder: Path
    card: Card
    """Its figures."""
    version: str | None
    """Of the model in MLflow's registry; None where it was not registered."""


def write_export(
    opened: ReadStudy, record: TrialRecord, out: Path | None, options: ExportOptions, *, register: str | None
) -> Exported:
    """Write an export, and register it.

    Args:
        opened: The study.
        record: A complete trial of it.
        out: The folder; None for ``exports/STUDY-TRIAL``.
        options: What it holds.
        register: Name of the model in MLflow's registry; None to leave it out.

    Raises:
        YoloRetError: see `export_trial` and `register_export`.
    """
    if register is not None:
        check_model_name(register)  # before minutes are spent
    folder = out or Path("exports") / f"{opened.name}-{record.number}"
    card = export_trial(opened, with_estimates(opened.summary), record, folder, options)
    version = None
    if register is not None:
        version = register_export(
            opened.root,
            folder,
            name=register,
            study=opened.name,
            study_id=opened.id,
            trial=record.number,
            tags=card.tags,
        )
    return Exported(folder=folder, card=card, version=version)
