"""The export of a trial, and its registration: what the command and the method have in common."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from search.front.record import TrialRecord
from search.strategy.accuracy.estimates import with_estimates
from search.study.read_study import ReadStudy
from search.study.refit import full_name
from search.tracking.registry import check_model_name, check_run, register_export
from yoloret_nas.api.train_trial import train_trial
from yoloret_nas.export.export_options import ExportOptions
from yoloret_nas.export.export_trial import check_export, export_trial
from yoloret_nas.export.model_card import Card
from yoloret_nas.options.training import weights_from


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An export that was written."""

    folder: Path
    card: Card
    """Its figures."""
    version: str | None
    """Of the model in MLflow's registry; None where it was not registered."""


def write_export(
    opened: ReadStudy,
    record: TrialRecord,
    out: Path | None,
    options: ExportOptions,
    *,
    refit: int | None,
    register: str | None,
    console: Console,
) -> Exported:
    """Write an export, and register it.

    Args:
        opened: The study.
        record: A complete trial of it.
        out: The folder; None for ``exports/STUDY-TRIAL``, or the name of the full training.
        options: What it holds.
        refit: Epochs of a full training of its architecture before; None for none.
        register: Name of the model in MLflow's registry; None to leave it out.
        console: Where the full training prints.

    Raises:
        YoloRetError: see `export_trial`, `train_trial` and `register_export`.
        KeyboardInterrupt: the full training was interrupted; called again, it resumes.
    """
    if register is not None:
        check_model_name(register)  # before minutes are spent
    name = f"{opened.name}-{record.number}" if refit is None else full_name(opened.name, record.number, epochs=refit)
    folder = out or Path("exports") / name
    if refit is not None:
        check_export(opened, record, folder, options)  # before hours are
        with weights_from(options.weights_dir):
            opened, record = train_trial(opened, record, epochs=refit, skip_broken=options.skip_broken, console=console)
    if register is not None:
        check_run(opened.root, study=opened.name, study_id=opened.id, trial=record.number)
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
