"""A newcomer's way, each step a process of its own: init, search, report, the page in a browser, export, use it elsewhere.

The set-up before it is what runs the tests. The browser is a real one; the environment of the last step has Python's own
library, numpy, OpenCV and ONNX Runtime, and nothing else.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pytest
from PIL import Image

from search.study.read_study import read_study
from tests.yoloret_nas.conftest import SHAPES, SPACE_YAML

HOME = Path(__file__).parents[2]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_S = 240.0
LOOK = (
    *("--headless", "--dump-dom", "--window-size=1600,1200", "--virtual-time-budget=60000"),
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
BARE = ("numpy", "numpy.libs", "cv2", "opencv_python_headless.libs", "onnxruntime")
"""What `run.py` needs, as folders of an installed environment."""


def environment() -> dict[str, str]:
    given = {**os.environ, "PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        given.pop(name, None)
    return given


def type_in(folder: Path, *arguments: str) -> str:
    """Run a command to its end; return what it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", "yoloret_nas", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


@contextmanager
def mlflow_ui(folder: Path) -> Iterator[str]:
    """Run `yoloret-nas ui`; yield the link to the study's trials that it prints, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-u", "-m", "yoloret_nas", "ui", "--port", str(port)]
    server = subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        links = (re.search(r"trials: (http\S+)", line) for line in server.stdout)
        link = next(found[1] for found in links if found)
        until = time.monotonic() + PATIENCE_S
        while True:
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < until, "the page does not answer"
            time.sleep(0.2)
        yield link
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=PATIENCE_S)


def see(link: str, folder: Path) -> str:
    """Return the text of a page as a browser shows it, once its scripts have run."""
    assert BROWSER is not None
    ended = subprocess.run(
        [BROWSER, *LOOK, f"--user-data-dir={folder}", link],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    shown = re.sub(r"<(script|style)\b.*?</\1>", " ", ended.stdout, flags=re.DOTALL | re.IGNORECASE)
    return " ".join(re.sub(r"<[^>]+>", " ", shown).split())


def shows(page: str, value: float) -> bool:
    """Return whether a page has a number that is the value, rounded as it likes."""
    numbers = (float(text) for text in re.findall(r"(?<![\w.])\d+\.\d+(?:e-?\d+)?", page))
    return any(abs(number - value) <= 0.005 * value for number in numbers)


def bare_environment(folder: Path) -> Path:
    """Make a folder that has `BARE` as an installation would, and nothing else."""
    folder.mkdir()
    installed = Path(onnxruntime.__file__).parents[1]
    for name in BARE:
        if (installed / name).exists():
            (folder / name).symlink_to(installed / name)
    return folder


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to look at the page with: apt-get install chromium")
def test_a_newcomer_comes_from_init_to_a_detector_that_runs_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "handful.yaml").write_text(SPACE_YAML, encoding="utf-8")
    type_in(tmp_path, "init", "--data", SHAPES, "--device", "cpu", "--max-latency", "999ms")
    said = type_in(tmp_path, "search", "--space", "handful.yaml", "--study", "first", "--budget", "2", "--epochs", "1")
    assert "front of first" in said
    summary = read_study(tmp_path / "runs", "first").summary
    front, knee = summary.front, summary.knee
    assert knee is not None

    assert "wrote" in type_in(tmp_path, "report", "first")
    page = see((tmp_path / "runs" / "first" / "report.html").as_uri(), tmp_path / "browser")
    assert f"Trial {knee.number}" in page  # the panel, which the page's script fills
    assert all(record.architecture.short in page for record in front)

    with mlflow_ui(tmp_path) as link:
        page = see(link, tmp_path / "browser")
    for record in front:
        assert record.point is not None
        assert f"#{record.number} {record.architecture.short}" in page
        assert shows(page, record.point[0])
        assert shows(page, record.point[1])

    type_in(tmp_path, "export", "--study", "first", "--best", "--out", "detector", "--register", "shapes")
    images = np.random.default_rng(0).integers(0, 255, (2, 60, 90, 3), dtype=np.uint8)
    Image.fromarray(images[0]).save(tmp_path / "image.png")
    site, program = bare_environment(tmp_path / "bare"), tmp_path / "detector" / "run.py"
    script = _RUN.format(site=str(site), program=str(program))
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (line,) = ended.stdout.splitlines()
    assert json.loads(line)["image"] == "image.png"
    with Image.open(tmp_path / "drawn" / "image.png") as picture:
        assert picture.size == (90, 60)

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    found = mlflow.pyfunc.load_model("models:/shapes/1").predict(images, params={"score_threshold": 0.0})
    assert set(found["image"]) == {0, 1}
    assert found["score"].between(0, 1).all()


_RUN = """
import runpy, sys
sys.path.append({site!r})
try:
    import torch
except ImportError:
    pass
else:
    raise SystemExit("this is not a bare environment")
sys.argv = ["run.py", "image.png", "--score", "0", "--out", "drawn"]
runpy.run_path({program!r}, run_name="__main__")
"""
