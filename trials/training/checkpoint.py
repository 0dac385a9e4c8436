"""The final weights of a training with their decoding, and the network built from them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spaces import Architecture
from spaces.documents import build_value
from spaces.weights.tensor_file import read_tensors
from trials.detections import Decoding
from trials.training.errors import TrainingError
from trials.whole_file import whole_file

if TYPE_CHECKING:
    from spaces.networks import YoloReT

CHECKPOINT_FILE = "checkpoint.pt"
"""The final weights, in the trial's folder."""

_FORMAT = 2
_DECODING = tuple(field.name for field in fields(Decoding))


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Final weights and their decoding."""

    weights: Mapping[str, Tensor]
    """The network's `state_dict`, on the CPU."""
    decoding: Decoding
    """How its maps are decoded."""


def write_checkpoint(path: Path, network: nn.Module, decoding: Decoding) -> None:
    """Write weights and decoding atomically."""
    write_tensors(path, {"format": _FORMAT, "state_dict": state_on_cpu(network), **vars(decoding)})


def state_on_cpu(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's state as a file of it holds it."""
    return {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}


def write_tensors(path: Path, values: Mapping[str, Any]) -> None:
    """Write tensors and plain values atomically, for `spaces.weights.tensor_file.read_tensors`."""
    buffer = BytesIO()  # where torch writes a file, a full disk raises a RuntimeError of an internal check
    torch.save(dict(values), buffer)
    with whole_file(path) as partial:
        partial.write_bytes(buffer.getbuffer())


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file of `write_checkpoint` without running code from it.

    Raises:
        TrainingError: It is a different kind of file, or damaged.
    """
    hint = "use the checkpoint.pt of a trial, or a whole copy of it"
    try:
        values: dict[str, Any] = read_tensors(path)
        if not isinstance(values, dict) or values.get("format") != _FORMAT:
            raise TrainingError(f"{path} is not a checkpoint of this version", hint=hint)
        decoding = build_value(Decoding, {name: values[name] for name in _DECODING if name in values})
        weights = values.get("state_dict")
        if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
            raise ValueError("it holds no weights")
    except ValueError as error:
        raise TrainingError(f"{path} cannot be read as a checkpoint: {error}", hint=hint) from error
    return Checkpoint(weights=weights, decoding=decoding)


def load_trained(architecture: Architecture, checkpoint: Checkpoint) -> "YoloReT":
    """Build an architecture's network with a checkpoint's weights.

    Raises:
        TrainingError: The weights are those of another network.
    """
    from spaces.networks import build_network  # imports timm, which most readers of a checkpoint do not need

    network = build_network(architecture, num_classes=len(checkpoint.decoding.class_names))
    try:
        network.load_state_dict(dict(checkpoint.weights))
    except (RuntimeError, TypeError) as error:  # TypeError: a name that is no text
        reason = " ".join(str(error).split())[:300]
        raise TrainingError(
            f"the checkpoint does not hold the weights of {architecture.short}: {reason}",
            hint="architecture and checkpoint must be of the same trial",
        ) from error
    return network
