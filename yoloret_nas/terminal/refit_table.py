"""Full trainings of a front beside the short ones that chose it, in the terminal."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from search.reports import estimate_words
from search.study.next_command import dir_option
from search.study.refit import MIN_COMPARED, Refit
from yoloret_nas.terminal.trial_lines import add_columns

_COLUMNS = {"full": 4, "trial": 5, "seeds": 5, "AP short": 8, "AP full": 7, "estimated": 13, "AP50": 6, "median": 10}
"""Column to its width in characters."""
_MOST_WANTED = ("full", "trial", "AP full", "median")


def show_refit(found: Refit, console: Console, *, root: Path) -> None:
    """Print full trainings beside the short ones, and how far their rankings agree."""
    front, estimates = {record.number for record in found.summary.front}, found.summary.estimates
    title = f"full trainings of {found.name}: {len(front)} on the front (★)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    names = add_columns(table, _COLUMNS, most_wanted=_MOST_WANTED, width=console.width)
    for one in found.retrained:
        record, result = one.best, one.best.result
        assert result.latency is not None  # it is complete
        cells = {
            "full": str(record.number),
            "trial": str(one.trial.number),
            "seeds": str(one.num_seeds),
            "AP short": f"{one.trial.result.ap:.4f}",
            "AP full": f"{one.ap:.4f}",
            "estimated": str(estimates.get(record.number, "–")),
            "AP50": f"{result.ap50:.4f}",
            "median": f"{result.latency.median_ms:.3f} ms",
        }
        mark = "★ " if record.number in front else "  "
        table.add_row(*(cells[name] for name in names), f"{mark}{record.architecture.short}")
    console.print(table)
    for record in found.summary.records:
        if record.point is None:
            console.print(f"full training {record.number} {record.result.state}: {record.result.reason}", markup=False)
    if any(one.num_seeds > 1 for one in found.retrained):
        console.print(
            "AP full: mean over the seeds; the other figures and the weights: of the best seed", soft_wrap=True
        )
    console.print(estimate_words(found.summary), markup=False, soft_wrap=True)
    console.print(agreement_words(found), markup=False, soft_wrap=True)
    if not front:
        return
    console.print(f"next: yoloret-nas export --study {found.name}{dir_option(root)}", markup=False, soft_wrap=True)


def agreement_words(found: Refit) -> str:
    """Return a sentence on how far short and full trainings rank alike."""
    if found.tau is None and len(found.retrained) >= MIN_COMPARED:
        return "short and full trainings cannot be compared: the AP of one or the other are all equal"
    if found.tau is None:
        return "too few full trainings to compare their ranking with the short ones'"
    return (
        f"short and full trainings rank {len(found.retrained)} architectures with Kendall's tau {found.tau:.2f} "
        "(1: alike; 0: by chance)"
    )
