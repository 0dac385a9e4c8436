"""The device that an export is meant for: what its files must be like, their latencies there, and its engines."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click

from spaces import YoloRetError
from spaces.networks import YoloReT
from trials.detections import Decoding
from trials.latency import DeviceIdentity, Latency
from trials.latency.cache import LATENCY_FILE, LatencyCache
from trials.latency.cpu import in_openvino
from trials.latency.device import Device, EngineBuilder
from trials.latency.measure import alone_on
from trials.latency.open_device import open_device
from trials.onnx import find_version
from trials.onnx.decoded import export_decoded
from trials.onnx.suppressed import BEYOND_EFFICIENT_NMS, MIN_EFFICIENT_NMS, MIN_TENSORRT
from trials.scratch import temporary_folder
from yoloret_nas.export.bundle import EFFICIENT_NMS_FILE, NMS_FILE, BundleError, add_engine
from yoloret_nas.export.export_options import ExportOptions
from yoloret_nas.export.precisions import PRECISIONS, Precision, check_int8


@dataclass(frozen=True, kw_only=True)
class Target:
    """The device that an export is meant for."""

    device: str
    """As the user types it."""
    identity: DeviceIdentity
    """What it is."""
    opset: int
    """The ONNX operator set of files for it."""
    has_engines: bool
    """Whether engines are built there."""
    suppressed_file: str = ""
    """Name of the file with non-maximum suppression, by the form that it takes; empty where none is asked for."""


def find_target(options: ExportOptions, *, device: str, identity: DeviceIdentity, opset: int) -> Target:
    """Return the device that an export is meant for, and refuse what it lacks.

    Args:
        options: Of the export.
        device: The study's device, for an export that names none; it is not contacted.
        identity: What it was in the search.
        opset: Of the search's files.

    Raises:
        BundleError: it has no INT8, no TensorRT or no suppression, and the options ask for it.
        DeviceError: the named device cannot be reached.
    """
    has_engines = "engine" in options.formats
    if options.device is not None:
        with closing(open_device(options.device, patience_s=0)) as opened:
            device, identity, opset = opened.name, opened.identity(), opened.opset
            has_engines = has_engines or isinstance(opened, EngineBuilder)
    if has_engines and identity.kind == "cpu":
        raise BundleError(
            f"device {device} has no TensorRT, so no engine can be built there",
            hint="name the GPU or board it is for: --for cuda, --for ssh://nano; or leave engine out of --format",
        )
    if "int8" in options.precisions:
        check_int8(identity, opset=opset)
    return Target(
        device=device,
        identity=identity,
        opset=opset,
        has_engines=has_engines,
        suppressed_file=choose_suppression(identity, has_engines=has_engines) if options.suppression else "",
    )


def choose_suppression(device: DeviceIdentity, *, has_engines: bool) -> str:
    """Return the name of the file with non-maximum suppression in the form that a device takes.

    Args:
        device: Its TensorRT decides; without one it is ONNX's operator.
        has_engines: Whether engines are built there; the plugin is for an engine alone.

    Raises:
        BundleError: its TensorRT has neither layer nor plugin, or has the plugin and no engine is built.
    """
    version = find_version(device.backend) if device.backend.startswith("TensorRT") else None
    if version is None:
        return NMS_FILE
    is_rtx = "RTX" in device.backend
    # Through trtexec, which knows the plugins; the GPU of this machine is not asked for it.
    if has_engines and device.kind == "ssh" and MIN_EFFICIENT_NMS <= version < BEYOND_EFFICIENT_NMS and not is_rtx:
        return EFFICIENT_NMS_FILE
    if version >= MIN_TENSORRT and not is_rtx:
        return NMS_FILE
    if is_rtx or version < MIN_EFFICIENT_NMS:
        raise BundleError(
            f"{device.backend} has no non-maximum suppression (TensorRT has a layer from {MIN_TENSORRT} on, and the plugin "
            f"EfficientNMS_TRT that we write for from {MIN_EFFICIENT_NMS} on)",
            hint="leave out --nms: run.py does it in numpy",
        )
    raise BundleError(
        f"{device.backend} has non-maximum suppression as the plugin EfficientNMS_TRT alone, which only an engine runs",
        hint="add --format engine, or leave out --nms: run.py does it in numpy",
    )


def build_and_measure(
    folder: Path,
    target: Target,
    files: tuple[str, ...],
    *,
    precisions: tuple[Precision, ...],
    network: YoloReT,
    decoding: Decoding,
    searched: Latency,
    is_measured: bool,
) -> dict[str, Latency | str]:
    """Build a target's engines into an export, and measure its files there.

    Args:
        folder: The export.
        target: The device.
        files: Names of the files to measure.
        precisions: Number formats to build engines of, where the target has engines.
        network: With its weights, on the CPU.
        decoding: How its maps are decoded.
        searched: The trial's latency in the search, whose scale is that of the files' latencies on the same device.
        is_measured: Whether anything is measured.

    Returns:
        File, engines too, to its latency or to the reason why it was not measured: a device that is away or restless is no
        reason to write no export. Empty unless `is_measured`.

    Raises:
        DeviceError: an engine cannot be built.
        UnsupportedNetworkError: TensorRT cannot take a file.
    """
    if not (target.has_engines or is_measured):
        return {}
    sources = {name: folder / name for name in files}
    try:
        opened = open_device(target.device, patience_s=0)
    except YoloRetError as error:
        if target.has_engines:
            raise
        return dict.fromkeys(sources, error.message)
    with closing(opened) as device, temporary_folder() as temporary:
        if target.has_engines:
            assert isinstance(device, EngineBuilder)  # `find_target` refuses others
            half = Path(temporary) / "half.onnx"
            if not device.converts_to_fp16:
                export_decoded(network, decoding, half, opset=target.opset, is_half=True)
            for precision in precisions:
                source = half if precision == "fp32" and half.exists() else folder / PRECISIONS[precision].file
                if precision != "fp16":  # the engine of the FP32 file is in FP16 already
                    name = Path(PRECISIONS[precision].file).with_suffix(".engine").name
                    sources[name] = source
            if target.suppressed_file == EFFICIENT_NMS_FILE:
                sources[Path(EFFICIENT_NMS_FILE).with_suffix(".engine").name] = folder / EFFICIENT_NMS_FILE
            for name, source in sources.items():
                if name.endswith(".engine"):
                    click.echo(f"building {name} on {target.device}, which takes minutes on a board", err=True)
                    with alone_on(device):  # TensorRT chooses kernels by timing them
                        device.build_engine(source, folder / name)
                    add_engine(folder, name, device.identity())
        if not is_measured:
            return {}
        # Measured anew, also where the study's folder is read-only.
        return _measure_all(sources, device, LatencyCache(Path(temporary) / LATENCY_FILE, scale=searched))


def _measure_all(sources: Mapping[str, Path], device: Device, cache: LatencyCache) -> dict[str, Latency | str]:
    """Measure files, each while a machine's trainings wait; a wait in vain for these is the last."""
    found: dict[str, Latency | str] = {}
    for name, path in sources.items():
        try:
            with alone_on(device):
                found[name] = _measure(name, path, device, cache)
        except YoloRetError as error:
            return {**dict.fromkeys(sources, error.message), **found}
    return found


def _measure(name: str, path: Path, device: Device, cache: LatencyCache) -> Latency | str:
    try:
        if reason := _why_not_measured(name, device):
            return reason
        click.echo(f"measuring {name} on {device.name}", err=True)
        if path.suffix == ".xml":
            device = in_openvino(device)
        return cache.measure(device, path)[0]
    except YoloRetError as error:
        return error.message


def _why_not_measured(name: str, device: Device) -> str:
    """Return why a file has no latency of its own on a device; empty where it has."""
    if name == PRECISIONS["fp16"].file and isinstance(device, EngineBuilder) and device.converts_to_fp16:
        return f"{device.name} makes FP16 of the FP32 file by itself"
    if name == NMS_FILE and device.identity().kind == "cuda":
        return "device cuda converts whole files to FP16, which suppression does not take"
    return ""
