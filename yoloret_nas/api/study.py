"""A study, from Python: its trials and its front as data frames, its best networks."""

from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import pandas as pd

from search.front.record import TrialRecord
from search.front.summary import Summary
from search.reports.front_plot import plot_front
from search.reports.table import record_rows
from search.strategy.accuracy.estimates import with_estimates
from search.study.errors import StudyError
from search.study.experiment import read_experiment, read_study_or_experiment
from search.study.read_study import ReadStudy
from search.study.refit import read_refit
from search.study.selection import select_trial
from spaces.counted import counted
from yoloret_nas.api.trial import ExportWords, Trial
from yoloret_nas.options.values import OptionError, to_milliseconds

if TYPE_CHECKING:
    from search.reports.front_plot import Figure

_SHOWN = ["ap", "ap_estimate", "ap_std", "ap50", "latency_ms", "p99_ms", "macs_m", "params_m", "backbone", "input_size"]
"""Columns of the front in a notebook."""


class Study:
    """A search, or trainings by name, as read when it was opened; `open_study` reads it again.

    Its data frames have a row for each finished trial, by number, and the columns of ``trials.csv``:

    ===================== ============================================================================================
    column                holds
    ===================== ============================================================================================
    state, reason         how the trial ended: ``complete``, ``pruned``, ``infeasible`` or ``failed``; why not complete
    ap, ap50              AP@[.5:.95] and AP at IoU 0.5 on the validation images, 0 to 1
    ap_estimate, ap_std   what the AP would be over many seeds, and its standard deviation
    latency_ms, p99_ms    median and 99th percentile on the study's device
    latency_ms DEVICE     median on a device of ``also_measure``
    macs_m, params_m      multiply-adds of one pass and parameters, in millions
    seconds               what the trial took
    backbone, …           the axes of its architecture
    ===================== ============================================================================================
    """

    def __init__(self, opened: ReadStudy) -> None:
        self._opened = opened

    @property
    def name(self) -> str:
        """Its name, which resumes it."""
        return self._opened.name

    @property
    def dir(self) -> Path:
        """Folder of the studies."""
        return self._opened.root

    @property
    def device(self) -> str:
        """Where latency is measured."""
        return self._opened.device

    @property
    def data(self) -> str:
        """The dataset."""
        return self._opened.dataset

    @property
    def hypervolume(self) -> float:
        """The share of the rectangle between (AP 1, 0 ms) and the study's reference point that the front covers."""
        return self._summary.hypervolume

    @property
    def trials(self) -> pd.DataFrame:
        """All finished trials, by number."""
        rows = record_rows(self._summary.records, self._summary.estimates)
        return pd.DataFrame(rows, columns=None if rows else ["trial"]).set_index("trial")

    @property
    def front(self) -> pd.DataFrame:
        """The trials that no other one beats in AP and latency, fastest first."""
        return self.trials.loc[[record.number for record in self._summary.front]]

    @property
    def full_trainings(self) -> "Study | None":
        """The longest full trainings of the front (``refit``), None before there are any."""
        found = read_refit(self._opened)
        if found is None:
            return None
        experiment = read_experiment(self.dir, found.name)
        assert experiment is not None  # it was read just now
        # Its reference point is the study's, so that their hypervolumes can be compared.
        return Study(replace(experiment, summary=found.summary))

    def trial(self, number: int) -> Trial:
        """Return a finished trial.

        Raises:
            StudyError: there is none of this number.
        """
        for record in self._summary.records:
            if record.number == number:
                return self._to_trial(record)
        raise StudyError(f"study {self.name!r} has no trial {number}", hint="Study.trials lists them")

    def knee(self) -> Trial:
        """Return the point where the front flattens: beyond it, latency buys less AP than the front's average.

        Raises:
            StudyError: no trial is complete.
        """
        return self._to_trial(select_trial(self._summary))

    def best(self, *, max_latency: float | str | None = None) -> Trial:
        """Return the most accurate trial of the front, by the estimates of AP where the study has them.

        Args:
            max_latency: Only of those within this latency: a number of milliseconds, or text such as ``"33ms"``.

        Raises:
            StudyError: no trial is complete, or none is as fast.
        """
        limit_ms = None if max_latency is None else to_milliseconds(max_latency)
        return self._to_trial(select_trial(self._summary, best=True, max_latency_ms=limit_ms))

    def plot(self) -> "Figure":
        """Return AP against latency of its trials as a Plotly figure, with the front and its noise."""
        return plot_front(self._summary)

    def export(
        self,
        trial: int | Trial | None = None,
        out: str | Path | None = None,
        *,
        best: bool = False,
        max_latency: float | str | None = None,
        **options: Unpack[ExportWords],
    ) -> Path:
        """Write a trial as a folder that runs without this project, as `yoloret-nas export` does.

        Args:
            trial: Its number, or the trial; None for the knee of the front, or what the next two choose.
            out: The folder; None for ``exports/STUDY-TRIAL``.
            best: Takes the most accurate of the front.
            max_latency: Takes the most accurate within this latency: a number of milliseconds, or text such as ``"33ms"``.
            options: See `ExportWords`.

        Returns:
            The folder, which `yoloret_nas.load` takes.

        Raises:
            YoloRetError: see `Trial.export`.
        """
        if trial is not None and (best or max_latency is not None):
            raise OptionError("trial names one trial; leave out best and max_latency")
        if trial is not None:
            chosen = trial if isinstance(trial, Trial) else self.trial(trial)
        else:
            chosen = self.best(max_latency=max_latency) if best or max_latency is not None else self.knee()
        return chosen.export(out, **options)

    @cached_property
    def _summary(self) -> Summary:
        return with_estimates(self._opened.summary)

    def _to_trial(self, record: TrialRecord) -> Trial:
        return Trial(study=self.name, record=record, root=self.dir)

    def __repr__(self) -> str:
        """Say what it is in one line."""
        num_trials, num_front = len(self._summary.records), len(self._summary.front)
        return (
            f"<study {self.name}: {counted(num_trials, 'trial(s)')}, {num_front} on the front, {self.data} on "
            f"{self.device}>"
        )

    def _repr_html_(self) -> str:
        """Show a notebook the front."""
        shown = self.front.reindex(columns=_SHOWN).dropna(axis="columns", how="all")
        return f"<p>{escape(repr(self)[1:-1])}</p>{shown.to_html(index_names=False)}"


def open_study(name: str, *, dir: str | Path = "runs") -> Study:
    """Open an existing study, or trainings by the name that `yoloret_nas.train` or ``refit`` gave them.

    Args:
        name: Its name.
        dir: Folder of the studies.

    Raises:
        StudyError: there is none, or it has not started; names the existing ones.
    """
    root = Path(dir).expanduser()
    return Study(read_study_or_experiment(root, name))
