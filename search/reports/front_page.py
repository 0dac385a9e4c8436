"""The front as a page: select a trial to read its figures, see its detections, and what to type next."""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.front.record import TrialRecord, trial_folder
from search.front.summary import Summary
from search.reports.estimate_words import estimate_words, inherit_words
from search.reports.front_plot import plot_front
from search.reports.page import figure_place, section, write_page
from search.reports.report_plots import plot_hypervolume
from search.reports.table import record_rows
from search.reports.thumbnail import thumbnail
from search.reports.trial_words import trial_words
from search.study.next_command import trial_commands
from spaces.counted import counted
from trials.training import CHECKPOINT_FILE
from trials.trial_result import DETECTIONS_FILE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_KNEE = "the knee of the front, which export takes by default"
_HOW_TO = (
    "Select a trial in the picture or in the table below to read its figures and what to type next. With a mouse, drag "
    "across the picture to zoom in, and double-click to zoom out."
)
_FIRST = ("ap", "latency_ms")
"""Columns of the table before all others, so that a narrow screen shows them."""


def write_front_page(summary: Summary, path: Path, *, title: str, folder: Path) -> None:
    """Write the front's page, whole or not at all.

    Args:
        summary: The study.
        path: The HTML file.
        title: The study, its data and its device.
        folder: Of the study, in the folder of all studies; pictures of detections are in its trials' folders.
    """
    curve = list(enumerate(summary.hypervolume_by_trial, 1))
    figures = {"front": front_figure(summary), "hypervolume": plot_hypervolume(curve, axis="finished trials")}
    words = f"The hypervolume is {summary.hypervolume:.4f} after {counted(len(curve), 'trial(s)')}."
    sections = [
        front_section(summary),
        section("Hypervolume by trial", figure_place("hypervolume", words=words), note=words),
        trials_section(summary),
    ]
    entries = trial_entries(summary, folder)
    write_page(path, title=title, sections=sections, figures=figures, trials=entries, selected=first_selected(summary))


def first_selected(summary: Summary) -> int | None:
    """Return the number of the knee, which a page selects at first; None without one."""
    return None if summary.knee is None else summary.knee.number


def front_figure(summary: Summary) -> "Figure":
    """Return the front's figure for a page, which shows a trial's words itself, with a picture."""
    figure = plot_front(summary, marked=first_selected(summary))
    figure.for_each_trace(lambda trace: trace.update(hovertext=None, hoverinfo="none") if trace.hovertext else None)
    return figure


def front_section(summary: Summary) -> str:
    """Return the front, what is known of it in words, and the place for the selected trial."""
    states = ", ".join(f"{count} {state}" for state, count in summary.states.items())
    words = (
        f"The front has {len(summary.front)} of "
        f"{counted(len(summary.records), 'trial(s)')}{f' ({states})' if states else ''}."
    )
    paragraphs = (f"{words} {estimate_words(summary)}", inherit_words(summary), _HOW_TO)
    place = figure_place(
        "front", words=f"AP against latency. {words} The table at the end of the page holds all figures."
    )
    return section(
        "The front",
        *(f"<p>{html.escape(words)}</p>" for words in paragraphs if words),
        f'{place}<aside id="selected" aria-live="polite" aria-label="The selected trial"></aside>',
    )


def trials_section(summary: Summary) -> str:
    """Return the table of all trials, with a button in each row that selects it."""
    front, knee = {record.number for record in summary.front}, first_selected(summary)
    rows = _figures(summary)
    filled = [name for name in (rows[0] if rows else {}) if any(row[name] not in (None, "") for row in rows)]
    columns = ["trial", "front", *(name for name in _FIRST if name in filled)]
    columns += [name for name in filled if name not in (*columns, "reason")]
    columns += ["architecture", *(name for name in filled if name == "reason")]
    head = "".join(f'<th scope="col"><button type="button">{html.escape(name)}</button></th>' for name in columns)
    lines = []
    for record, row in zip(summary.records, rows, strict=True):
        mark = "★ knee" if record.number == knee else "★" if record.number in front else ""
        cells = {**row, "front": mark, "architecture": record.architecture.short}
        pick = f'<th scope="row"><button type="button" data-trial="{record.number}">#{record.number}</button></th>'
        others = "".join(f"<td>{html.escape(_shown(cells[name]))}</td>" for name in columns[1:])
        lines.append(f"<tr>{pick}{others}</tr>")
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    note = (
        f"★: on the front; knee: {_KNEE}. A click on a column's name sorts by it. "
        "Where it is wider than the screen, the table scrolls sideways. trials.csv holds the same figures."
        if rows
        else "No trial has finished."
    )
    return section(
        "All trials", f'<div class="wrap"><table id="trials">{body if rows else ""}</table></div>', note=note
    )


def trial_entries(summary: Summary, folder: Path) -> list[dict[str, Any]]:
    """Return what the page shows of each trial when the pointer rests on it and when it is selected.

    Args:
        summary: The study.
        folder: Of the study.
    """
    front, knee = {record.number for record in summary.front}, first_selected(summary)
    alike = summary.alike
    entries = []
    for record, figures in zip(summary.records, _figures(summary), strict=True):
        number, on_front = record.number, record.number in front
        notes = ["on the front"] if on_front else []
        if number == knee:
            notes.append(_KNEE)
        if number in alike:
            notes.append(f"not clearly more accurate than #{alike[number]}, which is faster")
        entries.append(
            {
                "number": number,
                "point": _point(record, summary if on_front else None),
                "words": trial_words(record, summary, on_front=on_front),
                "notes": notes,
                "figures": [
                    [name, _shown(value)]
                    for name, value in figures.items()
                    if name != "trial" and value not in (None, "")
                ],
                "axes": [[name, str(value)] for name, value in record.architecture.to_dict().items()],
                "commands": _commands(record, folder) if record.point else (),
                **(_picture(trial_folder(folder, number) / DETECTIONS_FILE) if on_front else {}),
            }
        )
    return entries


def _commands(record: TrialRecord, folder: Path) -> tuple[str, ...]:
    has_weights = (trial_folder(folder, record.number) / CHECKPOINT_FILE).is_file()
    return trial_commands(folder.name, record.number, root=folder.parent, has_weights=has_weights)


def _point(record: TrialRecord, on_front_of: Summary | None) -> tuple[float, float] | None:
    """Return where the front's figure shows a trial, None where it does not."""
    result = record.result
    if result.latency is None or result.state not in ("complete", "pruned"):
        return None
    ap = result.ap or 0.0 if on_front_of is None else on_front_of.compared_ap(record)
    return result.latency.median_ms, ap


def _figures(summary: Summary) -> list[Mapping[str, str | int | float | None]]:
    """Return each trial's figures as in the CSV, without the axes of its architecture."""
    axes = {axis for record in summary.records for axis in record.architecture.to_dict()}
    rows = record_rows(summary.records, summary.estimates)
    inherited = [record.result.inherited or None for record in summary.records]
    shown = [{name: value for name, value in row.items() if name not in axes} for row in rows]
    if not any(inherited):
        return list(shown)
    return [{**row, "inherited": part and round(part, 2)} for row, part in zip(shown, inherited, strict=True)]


def _picture(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        return {"picture": thumbnail(path)}
    except OSError as error:
        return {"unreadable": f"{path.name} cannot be read: {error}"}


def _shown(value: str | int | float | None) -> str:
    return "" if value is None else str(value)
