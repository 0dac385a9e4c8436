"""A study of many trials in MLflow: what writing it costs, and how long its pages take in a browser.

    python -m benchmarks.many_trials_in_mlflow [--trials 500] [--pictures FOLDER]

`StudyRuns` writes the runs, as in a search. The trials are made up: architectures drawn from the space `tiny`, figures that
grow with their cost, six scored epochs, an ONNX file of 1.3 MB and a picture of 90 kB, as trials of the default search have.
Then `yoloret-nas ui` serves the store, and headless Chromium opens the two prepared pages, each in a browser of its own. A
page is there when what is in view is: rows with their figures, charts with their points.

A search's trials wait for no write; what a write takes from them is CPU time. Bars: under 1 % of a search's time, at 20 s a
trial; a page in under 10 s.
"""

import argparse
import base64
import json
import math
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from search.front.pareto import Reference
from search.front.record import TrialRecord
from search.front.summary import Summary
from search.study.settings import StudySettings
from search.tracking.runs import StudyRuns
from search.tracking.store import create_store, experiment_pages
from spaces.named_spaces import open_space
from trials.latency import DeviceIdentity, Latency
from trials.progress import Progress
from trials.training import TrainSettings
from trials.trial_result import ARCHITECTURE_FILE, DETECTIONS_FILE, ONNX_FILE, RESULT_FILE, TrialResult, write_json

_SECONDS_A_TRIAL = 20.0
_NUM_EPOCHS = 6
_DEVICE = DeviceIdentity(kind="cpu", board="made up", backend="none", precision="fp32", settings={})
_READY = {
    "trials": "[...document.querySelectorAll('[role=row] [col-id*=latency_ms]')]"
    ".filter(cell => /^[0-9.]+…?$/.test(cell.innerText.trim())).length >= 10",
    "charts": "[...document.querySelectorAll('.js-plotly-plot')].filter(plot => plot.data && plot.data.length).length >= 2",
}
"""JavaScript that tells whether a page shows what it was opened for."""
_PATIENCE_S = 180.0


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the pages")
    given = parser.parse_args()
    if given.trials < 1:
        parser.error("--trials is at least 1")
    with TemporaryDirectory() as folder:
        root = Path(folder)
        _write_study(root, given.trials)
        sizes = {path.name: _size(path) / 1e6 for path in (root / "mlflow.db", root / "mlartifacts")}
        print(f"store of {given.trials} trials: {', '.join(f'{name} {size:.0f} MB' for name, size in sizes.items())}")
        pages = experiment_pages(root)["study"]
        with _ui(root) as address:
            for kind, page in pages.items():
                seconds, picture = _open_page(address + page, ready=_READY[kind])
                print(f"{kind} page: {seconds:.1f} s")
                if given.pictures is not None:
                    given.pictures.mkdir(parents=True, exist_ok=True)
                    (given.pictures / f"{kind}.png").write_bytes(picture)


def _write_study(root: Path, num_trials: int) -> None:
    settings = StudySettings(
        name="study",
        space=open_space("tiny"),
        dataset="shapes",
        device="cpu",
        train=TrainSettings(epochs=_NUM_EPOCHS),
        root=root,
    )
    create_store(root)
    runs = StudyRuns(settings)
    runs.begin("made up", {"space": "tiny", "fingerprint": "made up"})
    records: list[TrialRecord] = []
    seconds: list[float] = []
    cpu_seconds = 0.0
    for record in _make_trials(settings, num_trials):
        records.append(record)
        summary = Summary(records=tuple(records), reference=Reference(ap=0.0, latency_ms=10.0))
        began, cpu_began = time.perf_counter(), time.process_time()
        runs.started(record.number, record.architecture, why="made up")
        for epoch, loss, ap, _ in record.result.history:
            runs.scored(record.number, Progress(phase="train", epoch=epoch, loss=loss, ap=ap))
        runs.finished(record, seconds=_SECONDS_A_TRIAL)
        runs.update(summary)
        seconds.append(time.perf_counter() - began)
        cpu_seconds += time.process_time() - cpu_began
    began = time.perf_counter()
    runs.mark_front(summary)
    runs.end(summary, status="FINISHED", files=[])
    ending = time.perf_counter() - began
    tenth = max(1, num_trials // 10)
    cpu_mean = cpu_seconds / num_trials
    print(
        f"tracking: {cpu_mean:.3f} s of CPU time a trial, {cpu_mean / _SECONDS_A_TRIAL:.2%} of {_SECONDS_A_TRIAL:g} s; "
        f"{sum(seconds) / num_trials:.3f} s on the clock (first tenth {sum(seconds[:tenth]) / tenth:.3f} s, "
        f"last {sum(seconds[-tenth:]) / tenth:.3f} s); "
        f"the end {ending:.1f} s"
    )


def _make_trials(settings: StudySettings, num_trials: int) -> Iterator[TrialRecord]:
    rng = random.Random(0)
    for number in range(num_trials):
        architecture = settings.space.sample(rng)
        cost = architecture.input_size / 160 * (1 + architecture.truncation / 10) * rng.uniform(0.7, 1.3)
        ap = 0.5 * (1 - math.exp(-cost)) * rng.uniform(0.7, 1.0)
        median_ms = 0.3 * cost * rng.uniform(0.8, 1.2)
        state = rng.choices(("complete", "pruned", "failed"), weights=(7, 2, 1))[0]
        result = TrialResult(
            state=state,  # type: ignore[arg-type]
            reason="" if state == "complete" else "made up",
            latency=Latency(samples_ms=(0.9 * median_ms, median_ms, 1.4 * median_ms), device=_DEVICE),
            ap=ap,
            ap50=min(1.0, 1.6 * ap),
            macs=int(20e6 * cost),
            params=int(0.3e6 * cost),
            epochs=_NUM_EPOCHS,
            history=tuple(
                (epoch, 5.0 / epoch, ap * epoch / _NUM_EPOCHS, ap * epoch / _NUM_EPOCHS)
                for epoch in range(1, _NUM_EPOCHS + 1)
            ),
        )
        folder = settings.trial_folder(number)
        folder.mkdir(parents=True)
        write_json(folder / ARCHITECTURE_FILE, architecture.to_dict())
        write_json(folder / RESULT_FILE, result.to_dict())
        (folder / ONNX_FILE).write_bytes(rng.randbytes(1_300_000))
        (folder / DETECTIONS_FILE).write_bytes(rng.randbytes(90_000))
        yield TrialRecord(number=number, architecture=architecture, result=result)


def _size(path: Path) -> int:
    return (
        path.stat().st_size if path.is_file() else sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    )


@contextmanager
def _ui(root: Path) -> Iterator[str]:
    """Serve the store by `yoloret-nas ui`; give the address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "yoloret_nas", "ui", "--dir", str(root), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if server.poll() is not None:
                    raise SystemExit(f"{' '.join(command)} ended with {server.returncode} before it answered") from None
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _open_page(url: str, *, ready: str) -> tuple[float, bytes]:
    """Open a page in a new Chromium; return the seconds until it is ready, and a picture of it."""
    with TemporaryDirectory() as profile, _Chromium(Path(profile)) as chromium:
        chromium.call("Runtime.enable")
        began = time.perf_counter()
        chromium.call("Page.navigate", url=url)
        while not chromium.call("Runtime.evaluate", expression=ready)["result"].get("value"):
            if time.perf_counter() - began > _PATIENCE_S:
                print(f"not ready after {_PATIENCE_S:.0f} s: {url}", file=sys.stderr)
                break
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        time.sleep(2.0)  # for what is still drawn, in the picture only
        return seconds, base64.b64decode(chromium.call("Page.captureScreenshot")["data"])


class _Chromium:
    """A headless Chromium with one page, spoken to by the DevTools protocol over a pair of pipes."""

    def __init__(self, profile: Path) -> None:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None:
            raise SystemExit("the pages need Chromium (Debian: chromium)")
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        flags = "--headless --no-sandbox --disable-gpu --no-first-run --remote-debugging-pipe --window-size=1600,1000"
        flags += " --disable-background-networking --disable-component-update --disable-sync"
        command = f'exec "$0" {flags} --user-data-dir="$1" about:blank 3<&{to_read} 4>&{to_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, program, str(profile)],
            pass_fds=(to_read, to_write),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._count, self._read, self._session = 0, b"", ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def __enter__(self) -> "_Chromium":
        return self

    def __exit__(self, *_: object) -> None:
        self._session = ""
        self.call("Browser.close")
        self._process.wait()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the answer to a command."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._read:
                more = os.read(self._from, 1 << 20)
                if not more:
                    raise SystemExit("Chromium has ended")
                self._read += more
            text, _, self._read = self._read.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self._count:
                return dict(answer["result"])


if __name__ == "__main__":
    main()
