"""A self-contained HTML page of sections, interactive figures and trials to select. It fetches nothing.

The page is `page.html` with `page.css`, `page.js`, Plotly's script, and figures and trials as JSON written into it.
"""

import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trials.whole_file import whole_file

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def write_page(
    path: Path,
    *,
    title: str,
    sections: Sequence[str],
    figures: Mapping[str, "Figure"],
    trials: Sequence[Mapping[str, Any]],
    selected: int | None,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: The HTML file.
        title: The study, its data and its device.
        sections: HTML, in order, with a `figure_place` for each figure.
        figures: By the names of their places.
        trials: What `page.js` shows of each trial.
        selected: Number of the trial that is selected at first; None for none.
    """
    from plotly.offline import get_plotlyjs

    drawn = {name: json.loads(figure.to_json()) for name, figure in figures.items()}
    parts = {
        "title": html.escape(title),
        "style": _read("page.css"),
        "sections": "\n".join(filter(None, sections)),
        "data": _script_json({"figures": drawn, "trials": trials, "selected": selected}),
        "plotly": get_plotlyjs(),
        "script": _read("page.js"),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read("page.html"))
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8")


def section(title: str, *parts: str, note: str = "") -> str:
    """Return a section's HTML: its heading, a paragraph of text, and parts that are HTML already."""
    words = f"<p>{html.escape(note)}</p>" if note else ""
    return "\n".join((f"<section><h2>{html.escape(title)}</h2>{words}", *parts, "</section>"))


def figure_place(name: str, *, words: str) -> str:
    """Return the place of a figure; the words are for those who cannot see it."""
    return f'<div class="plot" id="{name}" role="img" aria-label="{html.escape(words)}"></div>'


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, folded: str = "") -> str:
    """Return a table's HTML, folded away under these words if there are any."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    whole = f'<div class="wrap"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return f"<details><summary>{html.escape(folded)}</summary>{whole}</details>" if folded else whole


def _script_json(values: Any) -> str:
    """Return JSON that no text of the user's can end the script element with."""
    return json.dumps(values, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _read(name: str) -> str:
    return files("search.reports").joinpath(name).read_text(encoding="utf-8")
