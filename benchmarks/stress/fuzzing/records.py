"""What earlier runs and servers left: trials' files, databases, and the answers of an MLflow server."""

import json
import shutil
import sqlite3
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from benchmarks.stress.fuzzing.mutations import mutate_bytes, mutate_json, mutate_tree
from benchmarks.stress.fuzzing.target import Attempt
from search.study.experiment import read_experiment
from search.study.read_study import read_study, study_names
from search.study.settings import StudySettings
from spaces import Architecture
from spaces.named_spaces import open_space
from trials.data import open_dataset
from trials.latency import DeviceIdentity, Latency
from trials.training import TrainSettings
from trials.trial_result import RESULT_FILE, TrialResult, read_result

_DEVICE = DeviceIdentity(kind="cpu", board="made up", backend="none", precision="fp32", settings={"threads": "1"})
_RESULT = TrialResult(
    state="complete",
    latency=Latency(samples_ms=(1.0, 1.1, 1.2), device=_DEVICE, notes=("odd",)),
    ap=0.4,
    ap50=0.6,
    per_class_ap={"cat": 0.4},
    macs=3_000_000,
    params=2000,
    epochs=2,
    history=((1, 2.0, 0.3, 0.5), (2, 1.5, 0.4, 0.6)),
    seconds={"train": 3.0},
    also={"cuda": Latency(samples_ms=(1.0,), device=_DEVICE)},
)
_ARCHITECTURE = Architecture(
    backbone="mobilenetv3_small_050",
    truncation=9,
    scale_set=None,
    neck="none",
    rfcr_width=0,
    rfcr_channels=0,
    rfcr_kernel=0,
)


def results(folder: Path) -> Attempt:
    """``result.json`` and ``experiment.json``, half-written or of other types, as `studies` and resuming read them."""
    trial = folder / "exp" / "trials" / "0000"
    trial.mkdir(parents=True)
    result = {"study_id": "id", "architecture": _ARCHITECTURE.key, **_RESULT.to_dict()}
    book = {
        "id": "id",
        "settings": {"dataset": "shapes", "device": "cpu", "train": {}, "skip_broken": False},
        "variants": [{"label": "a", "architecture": _ARCHITECTURE.to_dict(), "seed": 0}],
    }

    def attempt(rng: Random) -> None:
        is_result = rng.random() < 0.6
        (trial / RESULT_FILE).write_bytes(mutate_json(result, rng) if is_result else json.dumps(result).encode())
        (folder / "exp" / "experiment.json").write_bytes(
            json.dumps(book).encode() if is_result else mutate_json(book, rng)
        )
        found = read_result(trial, study_id="id", architecture=_ARCHITECTURE)
        if found is not None:
            json.dumps(found.to_dict())
        opened = read_experiment(folder, "exp")
        if opened is not None:
            _look_at(opened.summary)

    return attempt


def databases(folder: Path) -> Attempt:
    """The file of latencies and Optuna's database: truncated, garbage, of another schema, with odd rows."""
    from trials.latency.cache import LatencyCache

    onnx = folder / "a.onnx"
    onnx.write_bytes(b"a network")
    whole = folder / "whole"
    _make_study(whole)
    LatencyCache(whole / "latency.db").put(onnx, Latency(samples_ms=(1.0, 1.1), device=_DEVICE))
    sound = {name: (whole / name).read_bytes() for name in ("optuna.db", "latency.db")}
    root = folder / "runs"
    root.mkdir()

    def attempt(rng: Random) -> None:
        name = rng.choice(tuple(sound))
        path = root / name
        for left in root.glob("*.db*"):
            left.unlink()
        path.write_bytes(_break_file(sound[name], rng) if rng.random() < 0.5 else sound[name])
        if rng.random() < 0.6:
            _break_rows(path, rng)
        if name == "latency.db":
            cache = LatencyCache(path)
            cache.get(onnx, _DEVICE)
            cache.check()
            return
        for study in study_names(root):
            _look_at(read_study(root, study).summary)

    return attempt


def mlflow_answers(folder: Path) -> Attempt:
    """What a server answers to MLflow's client: other types, other objects, half a document, HTML, any status."""
    from mlflow.store.tracking import rest_store

    from search.tracking.runs import find_trial_run, log_report
    from search.tracking.store import experiment_pages, naming_the_store, open_client

    answers = _Answers()
    port = answers.start()
    page = folder / "report.html"
    page.write_text("a page")
    assert rest_store is not None
    environment = {"MLFLOW_TRACKING_URI": f"http://me:secret@127.0.0.1:{port}", "MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}

    def attempt(rng: Random) -> None:
        answers.rng = rng
        with mock.patch.dict("os.environ", environment):
            kind = rng.randrange(3)
            if kind == 0:
                experiment_pages(folder)
            elif kind == 1:
                log_report(folder, "study", "id", page)
            else:
                with naming_the_store(folder):
                    find_trial_run(open_client(folder), "study", "id", 3)

    return attempt


class _Answers:
    """A server of broken answers on loopback; the random numbers are those of the input it answers."""

    rng = Random(0)

    def start(self) -> int:
        outer = self
        experiment = {
            "experiment_id": "1",
            "name": "study",
            "artifact_location": "mlflow-artifacts:/1",
            "lifecycle_stage": "active",
            "last_update_time": 1,
            "creation_time": 1,
            "tags": [{"key": "mlflow.sharedViewState.yoloret", "value": "x"}],
        }
        run = {
            "info": {
                "run_id": "a" * 32,
                "run_uuid": "a" * 32,
                "experiment_id": "1",
                "status": "RUNNING",
                "start_time": 1,
                "artifact_uri": "mlflow-artifacts:/1/a/artifacts",
                "lifecycle_stage": "active",
            },
            "data": {
                "metrics": [{"key": "ap", "value": 0.1, "timestamp": 1, "step": 0}],
                "tags": [{"key": "a", "value": "b"}],
            },
        }
        sound = {
            "experiments": [experiment],
            "experiment": experiment,
            "runs": [run],
            "run": run,
            "next_page_token": "",
        }

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                rng = outer.rng
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = mutate_json(sound, rng) if rng.random() < 0.6 else json.dumps(sound).encode()
                if rng.random() < 0.05:
                    body = rng.choice((b"", b"<html>busy</html>", b"\xff\xfe", b"null", b"[]"))
                self.send_response(rng.choice((200, 200, 200, 200, 204, 301, 400, 401, 403, 404, 418)))
                self.send_header("Content-Type", rng.choice(("application/json", "text/html; charset=nonsense")))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return int(server.server_address[1])


def _look_at(summary: Any) -> None:
    from search.strategy.accuracy.estimates import with_estimates

    estimated = with_estimates(summary)
    assert estimated.hypervolume >= 0
    json.dumps([record.result.to_dict() for record in estimated.records])
    assert len(estimated.front) <= len(estimated.records)


def _make_study(root: Path) -> None:
    from search.strategy.optuna_samplers import SpaceSampler
    from search.study.study import Study

    space = open_space("tiny")
    settings = StudySettings(
        name="study",
        space=space,
        dataset="shapes",
        device="cpu",
        train=TrainSettings(epochs=2),
        sampler="random",
        root=root,
    )
    study = Study(settings, SpaceSampler(space, name="random", seed=0))
    study.check_identity(open_dataset("shapes:train=2,val=2,size=32"), _DEVICE, notice=print)
    study.reference_latency_ms = 10.0
    for _ in range(2):
        asked = study.ask()
        assert asked is not None
        study.tell(asked[0], _RESULT)
    shutil.rmtree(root / "study")


def _break_file(data: bytes, rng: Random) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return data[: rng.choice((0, 1, 15, 16, 100, 4096, len(data) // 2, len(data) - 1))]
    if kind == 1:
        return rng.choice((b"", b"garbage" * 100, data[:16] + rng.randbytes(4080), b"\0" * len(data)))
    return mutate_bytes(data, rng)


def _break_rows(path: Path, rng: Random) -> None:
    """Change values, columns or tables by SQL, as another version or a curious user might; a damaged file stays as it is."""
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            wanted = (
                "latency",
                "reference",
                "study_user_attributes",
                "trial_user_attributes",
                "trial_values",
                "trials",
            )
            table = rng.choice([name for name in names if name in wanted] * 6 + names)
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            column = rng.choice(columns)
            kind = rng.randrange(6)
            if kind == 0:
                connection.execute(f"DROP TABLE {table}")
            elif kind == 1:
                connection.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO other")
            elif kind == 2:
                connection.execute(f"DELETE FROM {table}")
            else:
                jsons = [name for name in columns if name in ("measurement", "value_json")] or [column]
                (rowid, old), *_ = rng.sample(
                    connection.execute(f"SELECT rowid, {jsons[0]} FROM {table}").fetchall(), 1
                )
                connection.execute(
                    f"UPDATE {table} SET {jsons[0]} = ? WHERE rowid = ?", (_break_value(old, rng), rowid)
                )
    except (sqlite3.Error, IndexError, ValueError):
        return


def _break_value(old: Any, rng: Random) -> Any:
    try:
        tree = json.loads(old)
    except (TypeError, ValueError):
        return rng.choice((None, -1, "x", 1e308, b"\xff", 2**62))
    return json.dumps(mutate_tree(tree, rng)) if rng.random() < 0.8 else mutate_json(tree, rng).decode(errors="replace")
