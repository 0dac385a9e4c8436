"""What people write and what boards print: spaces, project files, host names, trtexec's output, facts of a board."""

import json
import os
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from benchmarks.stress.fuzzing.mutations import mutate_json, mutate_text, mutate_tree, mutate_yaml
from benchmarks.stress.fuzzing.target import Attempt, check_printable
from spaces import Architecture

_SPACE = """\
name: mine
description: a space
backbones:
  mobilenetv2_050: {truncation: [14, 16], transfer: [0, 5]}
  mobilenetv3_small_050: {truncation: [9]}
outputs: [8+16+32, 16+32]
scale_set: [8+16+32@16>8+16+32, none]
neck: [rfcr, none, bifpn]
shortcut: [none, conv]
rfcr_width: [32, 48]
rfcr_channels: [96]
rfcr_kernel: [3, 5]
head: [plain, fpn_pan]
head_width: [32, 64]
prediction_bias: [true, false]
input_size: [64, 96]
"""
_PROJECT = """\
data: my-images
device: [cpu, ssh://nano]
dir: runs
max_latency: 33ms
space: tiny
epochs: 30
refit: 90
budget: 50
skip_broken: true
"""
_HOSTS = (
    "ssh://nano",
    "ssh://me@host.lan:2222",
    "ssh://[fe80::1%eth0]:22",
    "ssh://nano?trtexec=/usr/src/trtexec&build_limit_s=60",
    "cpu:threads=1",
    "cpu",
    "cuda:0",
)
_WORDS = (
    "-oProxyCommand=x",
    " ",
    "\n",
    "%h",
    "%",
    "@",
    ":",
    "/",
    "?",
    "&",
    "[",
    "]",
    "$(id)",
    "'",
    '"',
    ";",
    "\0",
    "\r",
    "é",
    "٣",
)

_LOG = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # /usr/src/tensorrt/bin/trtexec --onnx=model.onnx --fp16
[11/02/2021-10:00:00] [I] Created input binding for images with dimensions 1x3x320x320
[11/02/2021-10:00:00] [I] Engine built in 33.1 sec.
[11/02/2021-10:00:00] [W] [TRT] Skipping tactic 3 due to insufficient memory on requested size of 57 detected.
[11/02/2021-10:00:00] [W] * GPU compute time is unstable, with coefficient of variance = 4.02893%.
[11/02/2021-10:00:00] [I] Throughput: 38.2 qps
[11/02/2021-10:00:00] [I] GPU Compute Time: min = 25.1 ms, mean = 25.9 ms, median = 25.8 ms, percentile(99%) = 26.9 ms
&&&& PASSED TensorRT.trtexec [TensorRT v8201] # /usr/src/tensorrt/bin/trtexec --onnx=model.onnx --fp16
"""
_LOG_7 = """\
&&&& RUNNING TensorRT.trtexec # ./trtexec --loadEngine=a --exportTimes=t
[05/01/2020-10:00:00] [I] throughput: 0 qps
[05/01/2020-10:00:00] [I] GPU Compute
[05/01/2020-10:00:00] [I] min: 54.1 ms
[05/01/2020-10:00:00] [I] max: 56.2 ms
[05/01/2020-10:00:00] [I] mean: 55.0 ms
[05/01/2020-10:00:00] [I] median: 55.14 ms
&&&& PASSED TensorRT.trtexec # ./trtexec --loadEngine=a
"""
_FAILED = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v8003] # trtexec --onnx=a
[E] [TRT] ModelImporter.cpp:720: ERROR: builtin_op_importers.cpp:4951 In function importFallbackPluginImporter:
[8] Assertion failed: creator && "Plugin not found, are the plugin name, version, and namespace correct?"
Unknown option: --foo
[E] Error Code 4: Internal Error (images: dynamic)
[E] Requested amount of GPU memory (1234567 bytes) could not be allocated
[E] Failed to parse onnx file
&&&& FAILED TensorRT.trtexec [TensorRT v8003] # trtexec --onnx=a
Killed
"""
_HELP = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec --help
=== Model Options ===
  --onnx=<file>               ONNX model
  --saveEngine=<file>         Save
  --loadEngine=<file>         Load
  --fp16                      Enable fp16
  --workspace=N               Set
  --useSpinWait --noDataTransfers
  --memPoolSize=poolspec
"""
_TIMES: list[dict[str, float]] = [
    {"startInMs": 1.0 * n, "startComputeMs": 200.0 + n, "endComputeMs": 226.0 + n, "computeMs": 25.0} for n in range(4)
]
_FACTS = """\
model NVIDIA Jetson Nano Developer Kit
l4t # R32 (release), REVISION: 7.4, GCID: 33514132, BOARD: t210ref
load 0.10
tool flock
tool timeout
desktop gdm3
library 8.2.1-1+cuda10.2
devfreq 57000000.gpu 921600000 76800000 921600000
thermal GPU-therm 36500
thermal PMIC-Die 100000
memory MemTotal 4059352
memory MemAvailable 2200000
nvidia-smi NVIDIA GeForce RTX 3060, 1777, 2100, 41, 12288, 11000
power MAXN
disk 12000000
trtexec /usr/src/tensorrt/bin/trtexec
"""


def spaces(folder: Path) -> Attempt:
    """A space's YAML file."""
    from spaces.space_file import read_space, to_yaml

    path = folder / "space.yaml"

    def attempt(rng: Random) -> None:
        text = _SPACE if rng.random() < 0.05 else mutate_yaml(_SPACE, rng)  # of the broken ones, one in fifty is legal
        path.write_text(text, errors="surrogatepass")
        space = read_space(path)
        assert space.size > 0
        check_printable(to_yaml(space))
        space.sample(rng)

    return attempt


def projects(folder: Path) -> Attempt:
    """A project file, up to the options of commands that it becomes; no command runs."""
    from yoloret_nas.cli import cli
    from yoloret_nas.project_file import defaults_of, read_project_file

    path = folder / "yoloret-nas.yaml"

    def attempt(rng: Random) -> None:
        path.write_text(mutate_yaml(_PROJECT, rng), errors="surrogatepass")
        given = read_project_file(path)
        for name in ("search", "studies", "data", "device"):
            command: Any = cli.get_command(cast(Any, None), name)
            command.make_context(name, [], default_map=defaults_of(command, given))

    return attempt


def hosts(folder: Path) -> Attempt:
    """Names of devices. What is legal must give ssh no option and no second host, whatever it holds."""
    from trials.latency.board import parse_address
    from trials.latency.open_device import open_device

    def attempt(rng: Random) -> None:
        spec = rng.choice(_HOSTS)
        place = rng.randrange(len(spec) + 1)
        spec = spec[:place] + rng.choice(_WORDS) + spec[place:] if rng.random() < 0.5 else mutate_text(spec, rng)
        device = open_device(spec)
        if spec.startswith("ssh://"):
            words = parse_address(spec).arguments
            end = words.index("--")
            assert end == len(words) - 2
            assert words[:end:2] in ([], ["-l"], ["-p"], ["-l", "-p"])
            for word in (*words[1:end:2], words[-1]):
                assert word[0] != "-"
                assert word.isascii()
                assert not set(word) & set(" \t\r\n\0'\"$`;&|<>\\")
        else:
            device.identity()

    return attempt


def trtexec(folder: Path) -> Attempt:
    """What trtexec prints and writes: logs of runs that end well or fail, the times file, the help."""
    from trials.latency.board.trtexec_command import read_help
    from trials.latency.board.trtexec_failure import find_failure
    from trials.latency.board.trtexec_log import parse_log, parse_times

    def attempt(rng: Random) -> None:
        kind = rng.randrange(4)
        if kind == 0:
            parse_times(mutate_json(_TIMES, rng).decode(errors="replace"), warm_up_ms=200)
            return
        if kind == 1:
            found = read_help(mutate_text(_HELP, rng), path="trtexec", library=mutate_text("8.2.1", rng))
            if found is not None:
                assert found.version.opset > 0
            return
        log = parse_log(mutate_text(rng.choice((_LOG, _LOG_7, _FAILED)), rng))
        failure = find_failure(
            log, exit_status=rng.choice((0, 1, 124, 137, None)), is_timed=rng.random() < 0.5, shape=(1, 3, 320, 320)
        )
        assert log.median_ms is None or log.median_ms > 0
        if failure is not None:
            assert failure.message

    return attempt


def boards(folder: Path) -> Attempt:
    """What the board's scripts print: facts, the state, the session, a run, a fetched engine."""
    from trials.latency.board import probe, session
    from trials.latency.board.address import SshAddress

    address = SshAddress(host="nano")

    class Host:
        """Answers each script with a broken form of what it prints."""

        def __init__(self, rng: Random, parts: dict[str, str]) -> None:
            self.address, self._rng, self._parts = address, rng, parts

        def run(self, script: str, nonce: str, *words: str, **_: object) -> Any:
            parts = {name: mutate_text(text, self._rng) for name, text in self._parts.items()}
            order = list(parts)
            if self._rng.random() < 0.1:
                self._rng.shuffle(order)
            out = "".join(f"\n@{nonce} {name}\n{parts[name]}" for name in order[: self._rng.choice((1, 9, 9, 9))])
            return SimpleNamespace(
                host="nano", command="", exit_status=self._rng.choice((0, 0, 1)), stdout=out, stderr="", seconds=1.0
            )

    def attempt(rng: Random) -> None:
        kind = rng.randrange(4)
        if kind == 0:
            board = probe.probe_board(cast(Any, Host(rng, {"board": _FACTS, "help": _HELP, "end": ""})))
            check_printable(probe.identity_of(board, board.state))
            json.dumps(board.state.figures())
            return
        if kind == 1:
            lines = mutate_text(
                "engine ab-12.engine\nreference ab-12.engine 25.1 25.2\ntimed 3\nunlocked\nwork /tmp/x", rng
            )
            if lines.splitlines()[-1:] and lines.splitlines()[-1].startswith("work "):  # else `open_session` gives up
                session._read_session(cast(Any, Host(rng, {})), "folder", lines.splitlines())
            return
        host = Host(rng, {"size": "3\n", "data": "YWJj\n", "end": ""})
        if kind == 2:
            host = Host(
                rng, {"before": _FACTS, "log": _LOG, "times": json.dumps(_TIMES), "after": _FACTS, "end": "0 12\n"}
            )
        opened = session.BoardSession(
            host=cast(Any, host), folder="f", work="/tmp/w", engines=[], reference=None, num_since_reference=0
        )
        if kind == 2:
            opened.run(["trtexec"], what="timing", limit_s=10)
        else:
            opened.fetch("ab-12.engine", folder / "engine")
            os.unlink(folder / "engine")

    return attempt


def tables(folder: Path) -> Attempt:
    """An architecture's file, in JSON or YAML, as the command line reads it."""
    from yoloret_nas.sources import find_source

    values = Architecture(backbone="mobilenetv2_050", truncation=14, head="plain", head_width=32).to_dict()
    path = folder / "net.yaml"

    def attempt(rng: Random) -> None:
        if rng.random() < 0.5:
            path.write_bytes(mutate_json(mutate_tree(values, rng), rng))
        else:
            path.write_text(
                mutate_yaml("".join(f"{k}: {json.dumps(v)}\n" for k, v in values.items()), rng), errors="surrogatepass"
            )
        check_printable(find_source(str(path), root=folder).architecture.short)

    return attempt
