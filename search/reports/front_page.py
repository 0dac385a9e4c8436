"""The front as one self-contained page: hover a trial to read it, click a column to sort. Works offline.

The page is `front_page.html` with `front_page.css`, `front_page.js` and the trials as JSON written into it.
"""

import html
import json
import re
from importlib.resources import files
from pathlib import Path

from search.reports.estimate_words import estimate_words
from search.reports.table import record_rows
from search.study.summary import Summary
from trials.whole_file import whole_file


def write_front_page(summary: Summary, path: Path, *, title: str, sections: str = "") -> None:
    """Write the page, whole or not at all.

    Args:
        summary: The study.
        path: The HTML file.
        title: The study, its data and its device.
        sections: HTML between the pictures and the table.
    """
    front = {record.number for record in summary.front}
    rows = [{**row, "front": row["trial"] in front} for row in record_rows(summary.records, summary.estimates)]
    data = json.dumps({"rows": rows, "hypervolume": summary.hypervolume_by_trial}, allow_nan=False)
    bars = " Bars in the picture: from the 5th to the 95th percentile." if summary.estimates else ""
    parts = {
        "title": html.escape(title),
        "style": _read("front_page.css"),
        "sections": f"<p>{html.escape(estimate_words(summary) + bars)}</p>\n{sections}",
        "data": data.replace("<", "\\u003c"),  # no text of the user's can end the script element
        "script": _read("front_page.js"),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read("front_page.html"))
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _read(name: str) -> str:
    return files("search.reports").joinpath(name).read_text(encoding="utf-8")
