"""A study's or an experiment's results as tables, pictures and pages, and what they show: effects of choices, a forecast.

`write_reports` writes the front after each search; `make_report` and `write_report_page` are behind `yoloret-nas report`;
`plot_front` is the front as a Plotly figure.
"""

from search.reports.estimate_words import estimate_words
from search.reports.front_page import write_front_page
from search.reports.front_plot import plot_front
from search.reports.report import WORK_NOTE, StudyReport, make_report
from search.reports.report_page import write_report_page
from search.reports.write_front import write_reports

__all__ = [
    "WORK_NOTE",
    "StudyReport",
    "estimate_words",
    "make_report",
    "plot_front",
    "write_front_page",
    "write_report_page",
    "write_reports",
]
