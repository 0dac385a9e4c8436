"""The check of a GPU runs at a tiny size on a CPU; its search is a test of its own (tests/yoloret_nas)."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_check_at_a_tiny_size(tmp_path: Path) -> None:
    parts = "machine,step,data,loop,memory,latency,training"
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu_check",
        "--accelerator",
        "cpu",
        "--parts",
        parts,
        "--json",
        tmp_path / "check.json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "check.json").read_text())
    assert list(results) == parts.split(",")
    assert {name: part["reason"] for name, part in results.items() if part["reason"]} == {}
    assert all(part["rows"] for part in results.values())
    assert "| memory | the next trial | complete |" in done.stdout
