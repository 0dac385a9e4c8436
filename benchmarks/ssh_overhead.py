"""What a measurement over ssh costs beyond trtexec's own runs, on loopback.

    python -m benchmarks.ssh_overhead [--repeats 5]

Starts OpenSSH's server on a free port with a stand-in for trtexec behind it (tests/trials/latency/board), measures networks
that are new to the board (built and timed) and known to it (only timed), and subtracts the time the stand-in itself ran,
including the start of its interpreter.

Bar: under 1 s per measurement, with one reused connection.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import onnx

from tests.trials.latency.board.loopback import loopback_board, missing
from trials.latency.board import SshDevice, SshSettings
from trials.latency.reference_network import write_reference


def main() -> None:
    """Print the overheads in seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    if repeats < 1 or (lack := missing()):
        parser.error("--repeats is at least 1" if repeats < 1 else lack)
    with tempfile.TemporaryDirectory() as folder, loopback_board(Path(folder) / "board") as board:
        device = SshDevice(name=board.spec, config=board.config, settings=SshSettings(reference_every=1000))
        started = time.perf_counter()
        device.identity()
        _say("connect and identify, once", [time.perf_counter() - started])
        _overhead(board, device, _network(Path(folder) / "first.onnx", "first"))  # builds the reference too
        networks = [_network(Path(folder) / f"{number}.onnx", f"network {number}") for number in range(repeats)]
        _say("build and time", [_overhead(board, device, network) for network in networks])
        _say("time a kept engine", [_overhead(board, device, network) for network in networks])
        device.close()


def _overhead(board: Any, device: SshDevice, network: Path) -> float:
    num_before = len(board.calls())
    started = time.perf_counter()
    device.measure(network)
    seconds = time.perf_counter() - started
    return seconds - sum(float(call["ended"]) - float(call["began"]) for call in board.calls()[num_before:])


def _network(path: Path, name: str) -> Path:
    write_reference(path)
    model = onnx.load(str(path))
    model.producer_name = name
    onnx.save(model, str(path))
    return path


def _say(what: str, seconds: list[float]) -> None:
    median, most = statistics.median(seconds), max(seconds)
    sys.stdout.write(f"{what:<28} median {median:.2f} s, most {most:.2f} s, n={len(seconds)}\n")


if __name__ == "__main__":
    main()
