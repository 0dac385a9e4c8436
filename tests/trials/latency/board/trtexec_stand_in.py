"""A stand-in for trtexec: behaves as a given version does at its seams, and times networks with ONNX Runtime on the CPU.

It really loads the ONNX file and runs it when it builds, so that bigger networks take longer; the figure goes into the
"engine", and timed runs scatter around it as a steady board's do. Files of the board it stands on:

    board.json   {"version": "8.2.1", "noise": 0.002, "slowdown": 1.0, "guess": false, "holds_network": false}
    faults.json  {"build": ["oom"], "time": [...], …}: each call takes the first fault of its kind off the list
    calls.jsonl  one line a call: its words, its seconds, its fault

Faults: killed, oom, hang, disk_full, garbage, truncated, operator, other_version, drift, noise, throttle,
stubborn (a hang that ignores the polite signal), cut (of the connection), low_memory, no_times, sleep:SECONDS,
ms:MILLISECONDS (no fault: what a build measures, where its timing cache does not know the network yet);
with ! at its end a fault stays on the list.
"""

import base64
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from versions import FLAGS, HIDDEN, HIGHEST_OPSET, banner, numbers

BOARD = Path(os.environ["YOLORET_NAS_BOARD_ROOT"]).parent
STATE = json.loads((BOARD / "board.json").read_text())
VERSION = STATE["version"]
STARTED = time.time()


def main(words: list[str]) -> int:
    if "--help" in words:
        return show_help()
    options = dict(word.lstrip("-").partition("=")[::2] for word in words)
    fault = take_fault("build" if "onnx" in options else "time")
    if fault == "garbage":
        sys.stdout.buffer.write(bytes(range(256)) * 20)
        return 0
    say(f"&&&& RUNNING TensorRT.trtexec{banner(VERSION)} # trtexec {' '.join(words)}")
    is_refused = refuses(options)
    status = 1 if is_refused else (build if "onnx" in options else run)(options, fault)
    if not is_refused or numbers(VERSION) < (11, 0, 0):  # 11 says no FAILED of a bad option
        say(f"&&&& {'FAILED' if status else 'PASSED'} TensorRT.trtexec{banner(VERSION)} # trtexec {' '.join(words)}")
    call = {"words": words, "fault": fault, "status": status, "began": started_at(), "ended": time.time()}
    with (BOARD / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(call) + "\n")
    return status


def show_help() -> int:
    if banner(VERSION):
        say(f"&&&& RUNNING TensorRT.trtexec{banner(VERSION)} # trtexec --help")
    say("=== Model Options ===")
    for flag in sorted(FLAGS[VERSION]):
        say(f"  --{flag}=<value>             A flag of the stand-in")
    say("  --help, -h                  Print this message")
    return 0


def refuses(options: dict[str, str]) -> bool:
    known = FLAGS[VERSION] | HIDDEN.get(VERSION, frozenset())
    unknown = [name for name in options if name not in known]
    for name in unknown:
        error(f"Unknown option: --{name} {options[name]}")
    return bool(unknown)


def build(options: dict[str, str], fault: str) -> int:
    info("=== Model Options ===")
    if numbers(VERSION) >= (8, 0, 0):
        info(f"TensorRT version: {VERSION}")
    info("Start parsing network model")
    engine = Path(options["saveEngine"])
    engine.write_bytes(b"unfinished")
    suffer(fault)
    if fault == "operator":
        say("[E] [TRT] 3: getPluginCreator could not find plugin: Frobnicate version: 1", stream=sys.stderr)
        error("Failed to parse onnx file")
        return 1
    if numbers(VERSION) < (8, 2, 0) and b"EfficientNMS_TRT" in Path(options["onnx"]).read_bytes():
        say("[E] [TRT] 3: getPluginCreator could not find plugin: EfficientNMS_TRT version: 1", stream=sys.stderr)
        return 1
    if fault == "oom":
        say("Requested amount of GPU memory (3887181312 bytes) could not be allocated.", stream=sys.stderr)
        error(
            "[TRT] 2: [executionContext.cpp::ExecutionContext::470] Error Code 2: OutOfMemory (no further information)"
        )
        return 1
    if fault == "disk_full":
        error(f"Could not write {engine.name}: No space left on device")
        return 1
    milliseconds, shape, opset = (guess if STATE.get("guess") else time_network)(options["onnx"])
    if opset > HIGHEST_OPSET.get(VERSION, 20):
        error(f"[TRT] ModelImporter.cpp: opset {opset} is not supported")
        error("Failed to parse onnx file")
        return 1
    if fault.startswith("ms:"):
        milliseconds = float(fault.partition(":")[2])
    cache = Path(options.get("timingCacheFile", ""))
    known = json.loads(cache.read_text()) if options.get("timingCacheFile") and cache.exists() else {}
    key = f"{Path(options['onnx']).stat().st_size}"
    milliseconds = known.setdefault(key, milliseconds)
    if options.get("timingCacheFile"):
        cache.write_text(json.dumps(known))
    if fault == "low_memory":
        warn("[TRT] Skipping tactic 3 due to insuficient memory on requested size of 538 detected for tactic 4.")
    plan = {"version": VERSION, "ms": milliseconds, "shape": shape}
    if STATE.get("holds_network"):  # for the stand-in for the board's Python package
        plan["network"] = base64.b64encode(Path(options["onnx"]).read_bytes()).decode()
    engine.write_text(json.dumps(plan))
    if numbers(VERSION) >= (8, 0, 0):
        info(f"Engine built in {time.time() - STARTED:.5f} sec.")
    return 0


def guess(path: str) -> tuple[float, list[int], int]:
    """Take a figure from the file's size: for tests of what goes wrong, where ONNX Runtime's start is most of the time."""
    side = 96 if b"yoloret-nas reference" in Path(path).read_bytes() else 32
    return Path(path).stat().st_size / 1e5, [1, 3, side, side], 0


def time_network(path: str) -> tuple[float, list[int], int]:
    import numpy as np
    import onnx
    import onnxruntime

    sys.path.append(str(Path(__file__).resolve().parents[2] / "onnx"))
    from efficient_nms import split_plugin

    model = onnx.load(path)
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    if model.graph.node[-1].op_type == "EfficientNMS_TRT":  # ONNX Runtime times what comes before it
        split_plugin(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    kind = np.float16 if entry.type == "tensor(float16)" else np.float32
    feed = {entry.name: np.zeros(entry.shape, kind)}
    passes = []
    for _ in range(4):
        before = time.perf_counter()
        session.run(None, feed)
        passes.append((time.perf_counter() - before) * 1e3)
    return min(passes), entry.shape, opset


def run(options: dict[str, str], fault: str) -> int:
    path = Path(options["loadEngine"])
    suffer(fault)
    engine = json.loads(path.read_text()) if path.exists() else {"version": ""}
    if engine["version"] != VERSION or fault == "other_version":
        error(
            "Error[1]: [runtime.cpp::parsePlan::455] Error Code 1: Serialization (Serialization assertion failed."
            "Trying to load an engine created with incompatible serialization version.)"
        )
        error("Engine deserialization failed")
        return 1
    binding = f"nput binding for images with dimensions {'x'.join(map(str, engine['shape']))}"
    if numbers(VERSION) >= (8, 6, 0):
        info(f"I{binding} is created.")
    elif numbers(VERSION) >= (8, 0, 0):
        info(f"Created i{binding}")
    info("Starting inference")
    warm_up, count = float(options.get("warmUp", 200)), max(100, int(options.get("iterations", 10)))
    queries = pretend(engine["ms"] * STATE.get("slowdown", 1.0), warm_up, count, fault)
    if options.get("exportTimes"):
        kept = queries if numbers(VERSION) < (8, 5, 0) else [query for query in queries if query[0] >= warm_up]
        if fault != "no_times":
            write_times(Path(options["exportTimes"]), kept)
    if fault == "no_graph":
        warn(
            "The specified --useCudaGraph flag has been ignored. "
            "The inference will be launched without using CUDA graph launch."
        )
    if fault == "throttle":
        throttle()
    if fault == "truncated":
        sys.stdout.flush()
        os._exit(0)
    summarise([milliseconds for start, milliseconds in queries if start >= warm_up])
    return 0


def pretend(milliseconds: float, warm_up: float, count: int, fault: str) -> list[tuple[float, float]]:
    rng = random.Random(int(milliseconds * 1e6))
    noise = 0.2 if fault == "noise" else STATE.get("noise", 0.002)
    queries = []
    start, timed = 4.17, 0
    for index in range(20):  # warm-up, slower as it is
        queries.append((start + index * (warm_up - 5) / 20, milliseconds * 1.5))
    start = warm_up + 1
    while timed < count:
        slope = 1 + 0.1 * timed / count if fault == "drift" else 1.0
        value = milliseconds * slope * max(0.05, rng.gauss(1, noise))
        queries.append((start, value))
        start, timed = start + value, timed + 1
    return queries


def write_times(path: Path, queries: list[tuple[float, float]]) -> None:
    entries = [
        f'{{ "startEnqMs" : {start:.6g}, "startComputeMs" : {start:.6g}, "endComputeMs" : {start + ms:.6g}, '
        f'"computeMs" : {ms:.6g}, "latencyMs" : {ms:.6g} }}'
        for start, ms in queries
    ]
    path.write_text("[\n  " + "\n, ".join(entries) + "\n]\n")


def summarise(values: list[float]) -> None:
    values = sorted(values)
    middle, mean, at99 = values[len(values) // 2], sum(values) / len(values), values[int(len(values) * 0.99) - 1]
    if numbers(VERSION) < (8, 0, 0):
        lines = [
            "Host Latency",
            f"min: {values[0]} ms (end to end {values[0]} ms)",
            f"median: {middle} ms (end to end {middle} ms)",
            "throughput: 0 qps",
            "walltime: 3.0 s",
            "GPU Compute",
            f"min: {values[0]} ms",
            f"max: {values[-1]} ms",
            f"mean: {mean} ms",
            f"median: {middle} ms",
            f"percentile: {at99} ms at 99%",
            "total compute time: 2.9 s",
        ]
    else:
        three = numbers(VERSION) >= (8, 5, 0)
        low = f"percentile(90%) = {at99} ms, percentile(95%) = {at99} ms, " if three else ""
        ends = f"min = {values[0]} ms, max = {values[-1]} ms, mean = {mean} ms"
        text = f"{ends}, median = {middle} ms, {low}percentile(99%) = {at99} ms"
        lines = [
            "=== Performance summary ===",
            f"Throughput: {1000 / mean:.6g} qps",
            f"Latency: {text}",
            f"GPU Compute Time: {text}",
        ]
    for line in lines:
        info(line)


def suffer(fault: str) -> None:
    sys.stdout.flush()
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if fault in ("hang", "stubborn"):
        time.sleep(3600)
    if fault.startswith("sleep:"):
        time.sleep(float(fault.partition(":")[2]))
    if fault == "cut":  # the connection, while this works
        from failing_session import cut_connection

        cut_connection()
        time.sleep(3600)


def throttle() -> None:
    for folder in (BOARD / "root/sys/class/devfreq").iterdir():
        (folder / "cur_freq").write_text("307200000\n")


def take_fault(kind: str) -> str:
    path = BOARD / "faults.json"
    faults = json.loads(path.read_text()) if path.exists() else {}
    waiting = faults.get(kind, [])
    if not waiting:
        return ""
    fault = waiting[0]
    if not fault.endswith("!"):  # one that stays
        faults[kind] = waiting[1:]
        partial = path.with_name(f"faults-{os.getpid()}.json")
        partial.write_text(json.dumps(faults))
        os.replace(partial, path)  # other sessions read it at any moment
    return str(fault.rstrip("!"))


def started_at() -> float:
    """When the process began, as the kernel tells it: the interpreter's own start is part of the call."""
    ticks = float(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))


def stamp() -> str:
    return time.strftime("[%m/%d/%Y-%H:%M:%S]")


def info(text: str) -> None:
    say(f"{stamp()} [I] {text}")


def warn(text: str) -> None:
    say(f"{stamp()} [W] {text}", stream=sys.stderr)


def error(text: str) -> None:
    say(f"{stamp()} [E] {text}", stream=sys.stderr)


def say(text: str, *, stream: object = None) -> None:
    print(text, file=stream or sys.stdout, flush=True)  # type: ignore[call-overload]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
