"""Networks as ONNX files: the same figures, in the operator set asked for, and one file for one architecture."""

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from spaces import Architecture
from spaces.named_spaces import SPACES
from spaces.networks import build_network
from spaces.presets import PRESETS
from trials.onnx.export import (
    DEFAULT_OPSET,
    ExportError,
    check_agreement,
    export_for_timing,
    export_onnx,
    fill_weights,
    read_opset,
)

SMALL = Architecture(backbone="mobilenetv3_small_050", truncation=11, head="fpn", head_width=32, input_size=64)


def network_of(architecture: Architecture, *, seed: int = 1, num_classes: int = 3) -> nn.Module:
    """Build a network whose every weight and statistic differs from what a fresh one has."""
    torch.manual_seed(seed)
    network = build_network(architecture.replace(transfer=0), num_classes=num_classes)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.2 * torch.rand_like(tensor)).add_(0.02 * torch.rand_like(tensor))
    return network.eval()


def samples(name: str, count: int) -> list[Architecture]:
    """Draw from a named space, at the smallest size: the graph is the same at each."""
    space, rng = SPACES[name](), random.Random(0)
    return [space.sample(rng).replace(input_size=64) for _ in range(count)]


@pytest.mark.parametrize(
    "architecture", [*samples("tiny", 3), *samples("nano", 3), *samples("paper", 1)], ids=lambda one: one.key
)
def test_a_filled_file_agrees_with_pytorch(architecture: Architecture, tmp_path: Path) -> None:
    path, network = tmp_path / "model.onnx", network_of(architecture)
    export_for_timing(architecture, path, num_classes=3)
    assert read_opset(path) == DEFAULT_OPSET == 13
    onnx.checker.check_model(str(path), full_check=True)
    with pytest.raises(ExportError, match=r"model.onnx differs from PyTorch by"):
        check_agreement(network, path, input_hw=(64, 64))
    fill_weights(path, network)
    assert read_opset(path) == 13
    check_agreement(network, path, input_hw=(64, 64))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model.onnx"]


def test_shapes_are_static_and_outputs_are_named_after_their_strides(tmp_path: Path) -> None:
    export_for_timing(
        SMALL.replace(
            outputs=(8, 16), truncation=8, neck="none", scale_set=None, rfcr_width=0, rfcr_channels=0, rfcr_kernel=0
        ),
        tmp_path / "model.onnx",
        num_classes=2,
    )
    graph = onnx.load(str(tmp_path / "model.onnx")).graph
    shapes = {
        entry.name: [side.dim_value for side in entry.type.tensor_type.shape.dim]
        for entry in (*graph.input, *graph.output)
    }
    assert shapes == {"images": [1, 3, 64, 64], "s8": [1, 21, 8, 8], "s16": [1, 21, 4, 4]}


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_the_operator_set_is_the_one_asked_for(tmp_path: Path, opset: int) -> None:
    export_for_timing(SMALL, tmp_path / "model.onnx", num_classes=3, opset=opset)
    network = network_of(SMALL)
    fill_weights(tmp_path / "model.onnx", network)
    assert read_opset(tmp_path / "model.onnx") == opset
    check_agreement(network, tmp_path / "model.onnx", input_hw=(64, 64))


def test_an_exporter_that_writes_another_set_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trials.onnx.export.read_opset", lambda path: 16)
    with pytest.raises(ExportError, match=r"opset 13 was requested, the exporter wrote 16 to .*model.onnx"):
        export_for_timing(SMALL, tmp_path / "model.onnx", num_classes=2)


def test_equal_architectures_make_equal_files_whatever_the_random_state(tmp_path: Path) -> None:
    contents = []
    for seed, architecture in enumerate((SMALL, SMALL, SMALL.replace(transfer=5), SMALL.replace(rfcr_kernel=3))):
        torch.manual_seed(seed)
        state = torch.random.get_rng_state()
        export_for_timing(architecture, tmp_path / "model.onnx", num_classes=2)
        assert torch.equal(torch.random.get_rng_state(), state)
        contents.append((tmp_path / "model.onnx").read_bytes())
    assert contents[0] == contents[1]
    assert contents[0] == contents[2]  # where weights come from moves no latency
    assert contents[0] != contents[3]


def test_exporting_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network = build_network(SMALL, num_classes=2).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    export_onnx(network, tmp_path / "model.onnx", input_hw=(64, 64))
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    check_agreement(network, tmp_path / "model.onnx", input_hw=(64, 64))


@pytest.mark.parametrize(
    ("other", "num_classes", "message"),
    [
        (SMALL.replace(backbone="mobilenetv2_035", truncation=16), 3, "lacks .* of the network's weights"),
        (SMALL.replace(head="fpn_pan"), 3, "lacks .* of the network's weights"),
        (SMALL.replace(head_width=48), 3, r"is \(.*\) in model.onnx, \(.*\) in the network"),
        (SMALL, 4, r"is \(.*\) in model.onnx, \(.*\) in the network"),
        (SMALL.replace(prediction_bias=False), 3, "has 3 weights that the network lacks"),
    ],
    ids=["another backbone", "another head", "another width", "other classes", "no bias"],
)
def test_a_file_of_another_network_is_refused_and_left_alone(
    tmp_path: Path, other: Architecture, num_classes: int, message: str
) -> None:
    path = tmp_path / "model.onnx"
    export_for_timing(SMALL, path, num_classes=3)
    before = path.read_bytes()
    with pytest.raises(ExportError, match=message):
        fill_weights(path, network_of(other, num_classes=num_classes))
    assert path.read_bytes() == before


def test_not_a_number_never_agrees(tmp_path: Path) -> None:
    network = network_of(SMALL)
    export_for_timing(SMALL, tmp_path / "model.onnx", num_classes=3)
    with torch.no_grad():
        next(network.parameters()).fill_(np.nan)
    fill_weights(tmp_path / "model.onnx", network)
    with pytest.raises(ExportError, match="differs from PyTorch by nan"):
        check_agreement(network, tmp_path / "model.onnx", input_hw=(64, 64))


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_agree_at_their_own_size(name: str, tmp_path: Path) -> None:
    path, network = tmp_path / "model.onnx", network_of(PRESETS[name])
    export_for_timing(PRESETS[name], path, num_classes=3)
    fill_weights(path, network)
    check_agreement(network, path, input_hw=PRESETS[name].input_hw)
