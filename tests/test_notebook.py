"""The notebook of the docs runs from its first cell to its last, in a folder of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "notebooks" / "search.ipynb"
ANY_MACHINE = """
from trials.latency import cache, steadiness

patient = steadiness.Thresholds(max_error=100.0, max_over_fastest=100.0, max_corrected_slowdown=100.0)
cache.THRESHOLDS = steadiness.THRESHOLDS = patient  # `yr.measure` takes any figure of a busy machine
"""
RUN = f"""
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
notebook.cells.insert(0, nbformat.v4.new_code_cell({ANY_MACHINE!r}))
NotebookClient(notebook, timeout=600).execute()
del notebook.cells[0]
nbformat.write(notebook, sys.argv[2])
"""


def search_lines(cells: list[dict[str, Any]]) -> list[str]:
    """Return what the search printed before its first trial, without times, which depend on the machine."""
    (outputs,) = (cell["outputs"] for cell in cells if "yr.search(" in "".join(cell["source"]))
    lines = "".join("".join(output["text"]) for output in outputs).splitlines()
    first = next(place for place, line in enumerate(lines) if re.match(r" *0  ", line))
    return [re.sub(r"\d[\d.]* (ms|s|min|h)\b", "TIME", line) for line in lines[:first]]


def test_the_notebook_runs(tmp_path: Path) -> None:
    done = tmp_path / "done.ipynb"
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(NOTEBOOK), str(done)],
        cwd=tmp_path,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},  # the stored outputs are a CPU's
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    stored, new = (search_lines(json.loads(path.read_text(encoding="utf-8"))["cells"]) for path in (NOTEBOOK, done))
    assert stored == new, "the notebook's page is stale: run it and store its outputs"
    assert new[0].startswith("study notebook: space")
    assert (tmp_path / "runs" / "notebook" / "front.csv").is_file()
    assert list((tmp_path / "exports").glob("notebook-*/model.onnx"))
