"""The front as files in the study's folder."""

from pathlib import Path

from search.front.summary import Summary
from search.reports.front_page import write_front_page
from search.reports.picture import draw_front
from search.reports.table import record_rows, write_csv


def write_reports(summary: Summary, folder: Path, *, title: str) -> list[Path]:
    """Write the front as picture, table and interactive page into the study's folder; return the files."""
    picture, table, page = folder / "front.png", folder / "front.csv", folder / "front.html"
    draw_front(summary, picture, title=title)
    write_csv(record_rows(summary.front, summary.estimates), table)
    write_csv(record_rows(summary.records, summary.estimates), folder / "trials.csv")
    write_front_page(summary, page, title=title, folder=folder)
    return [picture, table, folder / "trials.csv", page]
