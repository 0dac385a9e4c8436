"""What a benchmark cannot use is refused at its start, not after hours."""

import importlib
import sys
from pathlib import Path

import pytest

REFUSED = {
    "one_shot --data d --searches default": "needs random",
    "quick_recipe --seeds 1": "at least 2",
    "quick_recipe --count 1": "at least 2",
    "latency_in_turn --sweeps 1": "at least 2",
    "inheritance --epochs 1": "at least 2",
    "transfer_recipe --data d --ways typo": "invalid choice",
    "export_latency FOLDER": "is no export",
    "yolobench --table none.csv --subset 9": "no version 9",
    "scale --trials 1": "at least 2",
    "league --table none.csv --python none/bin/python": "no such program",
    "many_trials_in_mlflow --trials 0": "at least 1",
}


@pytest.mark.parametrize("command", REFUSED)
def test_what_cannot_be_used_is_refused_at_once(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *words = command.replace("FOLDER", str(tmp_path)).split()
    monkeypatch.setattr(sys, "argv", [name, *words])
    with pytest.raises(SystemExit, match="2"):
        importlib.import_module(f"benchmarks.{name}").main()
    assert REFUSED[command] in capsys.readouterr().err
