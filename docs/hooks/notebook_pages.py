"""Adds one page for each notebook to the site: its cells, with the outputs that are stored in it.

The pages exist only while the site is built. A notebook is JSON: no converter is needed, and the pages load nothing
from the network.
"""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Write the notebooks' pages."""
    for path in sorted(_NOTEBOOKS.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        page = "\n\n".join(_cell(cell) for cell in cells)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to a notebook lead to its page; in the repository they lead to the file."""
    return re.sub(r"\((notebooks/\w+)\.ipynb\)", r"(\1.md)", markdown)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Append the notebooks to the navigation."""
    assert config.nav is not None
    pages = [f"notebooks/{path.stem}.md" for path in sorted(_NOTEBOOKS.glob("*.ipynb"))]
    config.nav.append({"Notebooks": pages})
    return config


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    return "\n\n".join([f"```python\n{source}\n```", *map(_output, cell["outputs"])])


def _output(output: dict[str, Any]) -> str:
    """Return what a cell printed or showed: the picture or the table where there is one, else its text.

    A Plotly figure needs Plotly's script, some megabytes; only a sentence stands for it.
    """
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "application/vnd.plotly.v1+json" in data:
        return "*In a notebook the figure stands here.*"
    if "image/png" in data:
        return f"![output](data:image/png;base64,{''.join(data['image/png']).strip()})"
    if "text/html" in data:
        return "\n".join(line.strip() for line in "".join(data["text/html"]).splitlines())
    return f"```text\n{textwrap.dedent(''.join(data['text/plain'])).rstrip()}\n```"
