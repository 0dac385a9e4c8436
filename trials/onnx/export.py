"""Exports a network as an ONNX file: static shapes, batch 1, one output per output stride, no NMS."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.jit._trace import TracerWarning

from spaces import Architecture, YoloRetError
from spaces.networks import YoloReT, build_network
from trials.onnx.requirements import opset_of
from trials.whole_file import whole_file

DEFAULT_OPSET = 13
"""The operator set of TensorRT 8.2, the last for Jetson Nano; every later runtime reads it too."""


class ExportError(YoloRetError):
    """ONNX cannot be written, or its outputs differ from the network's."""


def export_onnx(network: YoloReT, path: Path, *, input_hw: tuple[int, int], opset: int = DEFAULT_OPSET) -> None:
    """Write a network in evaluation mode, with its weights under their own names.

    Batch norms are not folded (ONNX Runtime and TensorRT do so on loading), so that `fill_weights` can put trained weights
    into the graph whose latency was measured.

    The input is ``images`` (1, 3, height, width) float32; the outputs ``s8``, ``s16``, … are named by stride.

    Args:
        network: The network; its mode is restored.
        path: The file to write.
        input_hw: Height and width, pixels.
        opset: The exact operator set of the file.

    Raises:
        ExportError: the exporter wrote another operator set.
    """
    was_training = network.training
    try:
        trace(
            network.eval(),
            path,
            input_hw=input_hw,
            opset=opset,
            output_names=[f"s{stride}" for stride in network.output_strides],
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )
    finally:
        network.train(was_training)
    check_opset(path, opset)


def trace(
    module: nn.Module, path: Path, *, input_hw: tuple[int, int], opset: int, output_names: Sequence[str], **options: Any
) -> None:
    """Write a module whose input is ``images`` (1, 3, height, width) float32.

    Args:
        module: In evaluation mode.
        path: The file to write.
        input_hw: Height and width, pixels.
        opset: The operator set; `check_opset` tells whether the exporter wrote it.
        output_names: Of its outputs, in their order.
        options: Further ones of ``torch.onnx.export``.
    """
    example = torch.zeros(1, 3, *input_hw, device=next(module.parameters()).device)
    with warnings.catch_warnings():
        # dynamo=True cannot write below opset 16, and a Jetson Nano reads 13: the exporter's deprecation is known.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=TracerWarning)
        torch.onnx.export(
            module,
            (example,),
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=["images"],
            output_names=output_names,
            **options,
        )


def check_opset(path: Path, opset: int) -> None:
    """Check that a file is in the operator set that was requested.

    Raises:
        ExportError: the exporter wrote another one.
    """
    if (written := read_opset(path)) != opset:
        raise ExportError(f"opset {opset} was requested, the exporter wrote {written} to {path}")


def export_for_timing(architecture: Architecture, path: Path, *, num_classes: int, opset: int = DEFAULT_OPSET) -> None:
    """Write an architecture's network with weights that depend only on the architecture.

    Latency does not depend on the weights, and equal files have equal keys in the latency cache.

    Raises:
        ArchitectureError: the architecture is not legal.
        ExportError: it cannot be written.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(architecture.replace(transfer=0), num_classes=num_classes)
        with torch.no_grad():
            # The exporter merges weights of equal values, as fresh batch norms have; `fill_weights` needs each one.
            for tensor in network.state_dict().values():
                if tensor.is_floating_point():
                    tensor.add_(torch.rand_like(tensor) * 0.01)
    export_onnx(network, path, input_hw=architecture.input_hw, opset=opset)


def fill_weights(path: Path, network: nn.Module) -> None:
    """Put a network's weights into the ONNX file that was written from its architecture.

    Args:
        path: The file that `export_for_timing` wrote; replaced atomically.
        network: A network of the same architecture, with the new weights.

    Raises:
        ExportError: names or shapes of the file's weights differ from the network's.
    """
    model = onnx.load(str(path))
    state = network.state_dict()
    needed = {name for name in state if not name.endswith("num_batches_tracked")}
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    if missing := sorted(needed - set(initializers)):
        raise ExportError(f"{path.name} lacks {len(missing)} of the network's weights, such as {missing[0]}")
    if spare := sorted(name for name in set(initializers) - needed if "::" not in name):  # the exporter's own constants
        raise ExportError(f"{path.name} has {len(spare)} weights that the network lacks, such as {spare[0]}")
    for name in needed:
        tensor = initializers[name]
        values = state[tensor.name].detach().cpu().numpy()
        if tuple(tensor.dims) != values.shape:
            raise ExportError(f"{tensor.name} is {tuple(tensor.dims)} in {path.name}, {values.shape} in the network")
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with whole_file(path) as partial:
        onnx.save(model, str(partial))


def read_opset(path: Path) -> int:
    """Read the version of the default operator set from an ONNX file."""
    model = onnx.load(str(path), load_external_data=False)
    return opset_of(model)


def check_agreement(network: nn.Module, path: Path, *, input_hw: tuple[int, int], tolerance: float = 1e-3) -> float:
    """Compare PyTorch and ONNX Runtime on one random image.

    Args:
        network: The network the file was written from, on the CPU.
        path: The ONNX file.
        input_hw: Height and width, pixels.
        tolerance: Largest allowed difference, as a share of the largest output where that is above 1.

    Returns:
        The largest absolute difference of any output value.

    Raises:
        ExportError: they differ by more than the tolerance.
    """
    import onnxruntime

    image = torch.rand(1, 3, *input_hw, generator=torch.Generator().manual_seed(0)) * 4 - 2
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"images": image.numpy()})
    with torch.no_grad():
        ours = network.eval()(image)
    scale = max(1.0, *(float(output.abs().max()) for output in ours))
    difference = max(float(np.abs(a.numpy() - b).max()) for a, b in zip(ours, theirs, strict=True))
    if not difference <= tolerance * scale:
        raise ExportError(f"{path.name} differs from PyTorch by {difference:.2g} (allowed {tolerance * scale:.2g})")
    return difference
