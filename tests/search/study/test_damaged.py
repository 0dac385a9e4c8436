"""Files and rows of earlier runs that are damaged, or of another version: each is named, with a way out."""

import contextlib
import json
import sqlite3
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from search.study.database.storage import optuna_path
from search.study.errors import StudyError
from search.study.experiment import read_experiment
from search.study.read_study import read_study, study_names
from search.tracking.store import experiment_pages
from spaces import YoloRetError
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import IDENTITY, SPACE
from tests.search.study.test_study import COMPLETE, DATA, ask, open_study
from trials.trial_result import RESULT_FILE, DamagedFileError, TrialResult, read_result, write_result

ARCHITECTURE = next(iter(SPACE))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ('{"state": "complete"', "delimiter"),
        ("[]", "it holds no mapping"),
        ('{"state": "complete", "state": "failed"}', "the key 'state' is given twice"),
        ("[" * 100_000, "nested too deeply"),
        ("\\xff", "Expecting value"),
        ({"state": "odd"}, "state is 'odd'"),
        ({"ap": "0.5"}, "ap is '0.5'"),
        ({"ap": float("nan")}, "ap is nan"),
        ({"history": [[1]]}, "history is"),
        ({"latency": {"samples_ms": []}}, "'device' is missing"),
        ({"latency": 3}, "3 is no object"),
        ({"future": 1}, "unknown field 'future'"),
    ],
)
def test_a_damaged_result_is_named(tmp_path: Path, text: Any, said: str) -> None:
    write_result(tmp_path, COMPLETE, study_id="id", architecture=ARCHITECTURE)
    path = tmp_path / RESULT_FILE
    assert read_result(tmp_path, study_id="id", architecture=ARCHITECTURE) == COMPLETE
    path.write_text(text if isinstance(text, str) else json.dumps(json.loads(path.read_text()) | text))
    with pytest.raises(DamagedFileError, match=said) as caught:
        read_result(tmp_path, study_id="id", architecture=ARCHITECTURE)
    assert str(path) in caught.value.message
    assert "delete it" in caught.value.hint


@pytest.mark.parametrize(
    "change",
    [{"variants": 3}, {"variants": [3]}, {"variants": [{"label": "a"}]}, {"settings": []}, {"settings": {}}, {"id": 0}],
)
def test_a_damaged_experiment_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "exp/experiment.json"
    path.parent.mkdir()
    book = {"id": "id", "settings": {"device": "cpu", "dataset": "shapes", "skip_broken": False}, "variants": []}
    path.write_text(json.dumps(book))
    assert read_experiment(tmp_path, "exp") is not None
    path.write_text(json.dumps(book | change))
    if change == {"id": 0}:
        assert read_experiment(tmp_path, "exp").id == "0"  # type: ignore[union-attr]
        return
    with pytest.raises(StudyError, match=r"experiment\.json does not hold an experiment"):
        read_experiment(tmp_path, "exp")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE trial_user_attributes SET value_json = '{}' WHERE key = 'result'",
        "UPDATE trial_user_attributes SET value_json = '[' WHERE key = 'architecture'",
        "UPDATE study_user_attributes SET value_json = '3' WHERE key = 'settings'",
        "UPDATE study_user_attributes SET value_json = '\"x\"' WHERE key = 'reference_latency_ms'",
        "UPDATE study_user_attributes SET value_json = '{\"space\": 3}' WHERE key = 'settings'",
        "UPDATE trials SET state = 'ODD'",
        "ALTER TABLE trials RENAME COLUMN state TO other",
    ],
)
def test_a_damaged_row_names_the_database(settings: MakeSettings, change: str) -> None:
    chosen = settings()
    study = open_study(chosen)
    study.check_identity(DATA, IDENTITY, notice=print)
    study.reference_latency_ms = 10.0
    study.tell(ask(study)[0], COMPLETE)
    assert len(read_study(chosen.root, chosen.name).summary.records) == 1
    with contextlib.closing(sqlite3.connect(optuna_path(chosen.root))) as connection, connection:
        connection.execute(change)
    with pytest.raises(YoloRetError, match=r"optuna\.db"):
        study_names(chosen.root) and read_study(chosen.root, chosen.name)


def test_what_no_mlflow_server_answers_names_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps({"experiments": [{"tags": 3, "name": []}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{server.server_address[1]}")
        with pytest.raises(StudyError, match=r"MLflow store http://\*\*\*@127\.0\.0\.1:\d+ cannot be used") as caught:
            experiment_pages(tmp_path)
        server.shutdown()
    assert "secret" not in caught.value.message + caught.value.hint


def test_a_result_is_read_from_what_it_wrote_and_from_less() -> None:
    assert TrialResult.from_dict({"state": "failed", "reason": "x"}) == TrialResult(state="failed", reason="x")
    assert TrialResult.from_dict(json.loads(json.dumps(COMPLETE.to_dict()))) == COMPLETE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE trial_values SET value = NULL, value_type = 'FINITE'", "AssertionError"),
        (f"UPDATE study_user_attributes SET value_json = '{'[' * 100_000}'", "recursion"),
    ],
)
def test_a_database_with_damaged_rows_is_named(settings: MakeSettings, change: str, said: str) -> None:
    chosen = settings()
    study = open_study(chosen)
    study.tell(ask(study)[0], COMPLETE)
    with contextlib.closing(sqlite3.connect(optuna_path(chosen.root))) as database, database:
        database.execute(change)
    with pytest.raises(YoloRetError, match=rf"does not hold .*: .*{said}"):
        study_names(chosen.root)
