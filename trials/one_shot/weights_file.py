"""The file of trained shared weights."""

from pathlib import Path
from typing import Any

from torch import Tensor

from spaces.networks.shared_weights import SharedWeights
from spaces.weights.tensor_file import read_tensors
from trials.training.checkpoint import state_on_cpu, write_tensors
from trials.training.errors import TrainingError

_FORMAT = 2
_VALUES = "values."


def write_shared(path: Path, weights: SharedWeights) -> None:
    """Write shared weights atomically."""
    values = {
        "shared_weights": _FORMAT,
        "backbone": weights.backbone,
        "num_blocks": len(weights.blocks),
        "num_classes": weights.num_classes,
        "state_dict": state_on_cpu(weights),
    }
    write_tensors(path, values)


def read_shared(path: Path) -> SharedWeights:
    """Read a file of `write_shared` without running code from it.

    Raises:
        TrainingError: it is missing, a different kind of file, or damaged.
    """
    hint = "restore it, or begin another study with --study NAME"
    try:
        values: dict[str, Any] = read_tensors(path)
        if not isinstance(values, dict) or values.get("shared_weights") != _FORMAT:
            raise ValueError("it holds no shared weights of this version")
        state: dict[str, Tensor] = values["state_dict"]
        own = {name.removeprefix(_VALUES): value for name, value in state.items() if name.startswith(_VALUES)}
        weights = SharedWeights(
            values["backbone"], num_blocks=values["num_blocks"], num_classes=values["num_classes"], values=own
        )
        weights.load_state_dict(state)
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # RuntimeError: the weights of another backbone
        raise TrainingError(f"shared weights {path} cannot be read: {error}", hint=hint) from error
    return weights
