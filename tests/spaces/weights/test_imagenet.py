"""The sources of ImageNet weights: a folder, published files on a local server, timm's hub when it is unreachable."""

import dataclasses
import hashlib
import pickle
import re
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn
from torchvision.transforms.functional import normalize

from spaces import Architecture
from spaces.networks import build_network
from spaces.networks.backbones import BACKBONES, Backbone, build_blocks, split_blocks
from spaces.weights import WEIGHTS_DIR, WeightsError, fetch_pretrained, load_pretrained, why_unavailable
from spaces.weights.published import PUBLISHED
from tests.file_server import FileServer

# --- the published MobileNetV2 ------------------------------------------------------------------------------------


class PublishedMobileNetV2(nn.Module):
    """The published network as its definition reads, under its names: what the files hold the weights of."""

    def __init__(self, multiplier: float) -> None:
        super().__init__()

        def channels(count: int) -> int:
            rounded = max(8, int(count * multiplier + 4) // 8 * 8)
            return rounded + 8 if rounded < 0.9 * count * multiplier else rounded

        width = channels(32)
        layers: list[nn.Module] = [nn.Sequential(*self.unit(3, width, 3, stride=2), nn.ReLU6())]
        self.has_shortcut = [False]
        for expansion, count, repeats, first_stride in (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ):
            for repeat in range(repeats):
                stride, out = (1 if repeat else first_stride), channels(count)
                hidden = width * expansion
                expand = [*self.unit(width, hidden, 1), nn.ReLU6()] if expansion > 1 else []
                around = [*self.unit(hidden, hidden, 3, stride=stride, groups=hidden), nn.ReLU6()]
                block = nn.Module()
                block.conv = nn.Sequential(*expand, *around, *self.unit(hidden, out, 1))
                layers.append(block)
                self.has_shortcut.append(stride == 1 and width == out)
                width = out
        self.features = nn.ModuleList(layers)
        self.conv = nn.Sequential(*self.unit(width, 1280, 1), nn.ReLU6())
        self.classifier = nn.Linear(1280, 1000)

    @staticmethod
    def unit(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [conv, nn.BatchNorm2d(outputs)]

    def forward(self, images: Tensor) -> list[Tensor]:
        features = [self.features[0](images)]
        for block, has_shortcut in zip(self.features[1:], self.has_shortcut[1:], strict=True):
            fresh = block.conv(features[-1])
            features.append(features[-1] + fresh if has_shortcut else fresh)
        features.append(self.conv(features[-1]))
        return [*features, self.classifier(features[-1].mean(dim=(2, 3)))]


@pytest.fixture
def published(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, PublishedMobileNetV2, bytes]:
    """A published file of random weights on a local mirror, and the network it belongs to."""
    torch.manual_seed(0)
    network = PublishedMobileNetV2(0.75)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    torch.save(network.state_dict(), tmp_path / "saved.pth")
    content = (tmp_path / "saved.pth").read_bytes()
    name = f"mobilenetv2_0.75-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    server.files[name] = content
    known = dataclasses.replace(PUBLISHED["mobilenetv2_075"], file=name, sha256=hashlib.sha256(content).hexdigest()[:8])
    monkeypatch.setitem(PUBLISHED, "mobilenetv2_075", known)
    monkeypatch.setenv("YOLORET_NAS_WEIGHTS_URL", server.url + "/")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv(WEIGHTS_DIR, raising=False)
    return name, network.eval(), content


def test_the_converted_network_gives_the_published_one_s_features(
    published: tuple[str, PublishedMobileNetV2, bytes], server: FileServer
) -> None:
    _, network, _ = published
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        expected = network(images)
        model = fetch_pretrained("mobilenetv2_075").eval()
        stem, blocks = split_blocks(model)
        features = [stem(images)]
        for block in blocks:
            features.append(block(features[-1]))
        scores = model(images)
    assert len(features) == len(expected) - 1 == 19
    for own, theirs in zip([*features, scores], expected, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-4)
    fetch_pretrained("mobilenetv2_075")
    assert len(server.asked) == 1  # kept


@pytest.mark.parametrize(("backbone", "multiplier"), [("mobilenetv2_035", 0.35), ("mobilenetv2_075", 0.75)])
def test_each_published_width_fills_its_timm_network(backbone: str, multiplier: float) -> None:
    converted = PUBLISHED[backbone].convert(PublishedMobileNetV2(multiplier).state_dict())
    timm.create_model(backbone).load_state_dict(converted)


def test_only_the_blocks_below_the_boundary_take_weights(
    published: tuple[str, PublishedMobileNetV2, bytes],
) -> None:
    architecture = Architecture(backbone="mobilenetv2_075", truncation=16, transfer=5)
    network = build_network(architecture, num_classes=3)
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    load_pretrained(network, architecture)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, fresh[name])}
    assert changed
    blocks = {int(name.split(".")[2]) for name in changed if name.startswith("backbone.blocks")}
    assert blocks == set(range(5))
    assert all(name.startswith("backbone.") for name in changed)


@pytest.mark.parametrize("break_after", [[], [1000]], ids=["other content", "cut short"])
def test_a_file_of_another_hash_is_refused_and_leaves_nothing(
    published: tuple[str, PublishedMobileNetV2, bytes], server: FileServer, tmp_path: Path, break_after: list[int]
) -> None:
    name, _, content = published
    server.files[name] = content[:-1] + b"x"
    server.break_after = break_after
    with pytest.raises(WeightsError, match=f"{re.escape(name)}: invalid hash value"):
        fetch_pretrained("mobilenetv2_075")
    assert list((tmp_path / "torch" / "hub" / "checkpoints").iterdir()) == []


def test_two_at_once_both_get_the_right_content(
    published: tuple[str, PublishedMobileNetV2, bytes], server: FileServer, tmp_path: Path
) -> None:
    name, network, content = published
    with ThreadPoolExecutor(2) as pool:
        models = list(pool.map(fetch_pretrained, ["mobilenetv2_075"] * 2))
    for model in models:
        assert torch.equal(model.state_dict()["conv_stem.weight"], network.features[0][0].weight)
    (file,) = (tmp_path / "torch" / "hub" / "checkpoints").iterdir()
    assert file.name == name
    assert file.read_bytes() == content


def test_a_file_that_the_server_lacks_is_named(
    published: tuple[str, PublishedMobileNetV2, bytes], server: FileServer
) -> None:
    server.files.clear()
    with pytest.raises(WeightsError, match=rf"{server.url}/mobilenetv2_0\.75-.*\.pth: HTTP Error 404"):
        fetch_pretrained("mobilenetv2_075")


def test_out_of_reach_is_one_line_with_the_url_and_the_way_out(
    published: tuple[str, PublishedMobileNetV2, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLORET_NAS_WEIGHTS_URL", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"http://127\.0\.0\.1:9/mobilenetv2_0\.75-.*refused") as caught:
        fetch_pretrained("mobilenetv2_075")
    assert "--weights-dir" in caught.value.hint
    reason = why_unavailable("mobilenetv2_075")
    assert "mobilenetv2_075" in reason
    assert "\n" not in reason


@pytest.mark.parametrize("address", ["mirror.example/weights", "{server}"])
def test_no_url_and_no_room_for_a_download_are_reasons(
    published: tuple[str, PublishedMobileNetV2, bytes],
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "file"))  # no folder can be made in it
    monkeypatch.setenv("YOLORET_NAS_WEIGHTS_URL", address.format(server=server.url))
    reason = why_unavailable("mobilenetv2_075")
    assert ("Not a directory" in reason) == (address == "{server}")
    assert ("unknown url type" in reason) == (address != "{server}")


# --- normalisation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_stem_sees_the_normalisation_its_weights_were_trained_with(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = timm.create_model(backbone)  # with timm's epsilon of norms, whatever ours is
    stem, _ = split_blocks(model)
    nn.init.normal_(stem[1].running_mean)
    nn.init.uniform_(stem[1].running_var, 1e-4, 2e-3)  # the epsilon counts
    safetensors.torch.save_file(model.state_dict(), tmp_path / f"{backbone}.safetensors")
    monkeypatch.setenv(WEIGHTS_DIR, str(tmp_path))
    own, blocks = build_blocks(backbone)
    network = nn.Module()
    network.backbone = Backbone(own, [blocks[0]], taps={})
    load_pretrained(network, Architecture(backbone=backbone, truncation=1, transfer=1))  # type: ignore[arg-type]
    values = torch.rand(1, 3, 32, 32)
    published = timm.get_pretrained_cfg(backbone)
    theirs = normalize(values, published.mean, published.std)
    ours = normalize(values, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        expected, found = stem.eval()(theirs), network.backbone.stem.eval()(ours)
    torch.testing.assert_close(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], rtol=1e-3, atol=1e-3)


# --- a folder of weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    model = timm.create_model("mobilenetv3_small_050")
    path = tmp_path / f"mobilenetv3_small_050{suffix}"
    if suffix == ".pth":
        torch.save(model.state_dict(), path)
    else:
        safetensors.torch.save_file(model.state_dict(), path)
    monkeypatch.setenv(WEIGHTS_DIR, str(tmp_path))
    loaded = fetch_pretrained("mobilenetv3_small_050").state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in model.state_dict().items())


def test_a_published_file_in_the_folder_is_converted(
    published: tuple[str, PublishedMobileNetV2, bytes],
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, network, content = published
    (tmp_path / name).write_bytes(content)
    monkeypatch.setenv(WEIGHTS_DIR, str(tmp_path))
    model = fetch_pretrained("mobilenetv2_075")
    assert torch.equal(model.state_dict()["conv_stem.weight"], network.features[0][0].weight)
    assert server.asked == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("features.0.conv.1.weight", "'features.0.conv.1.weight' is not a value of the published MobileNetV2"),
        ("features.2.conv.20.weight", "'features.2.conv.20.weight' is not a value"),
        ("features.2.conv.2.weight", "'features.2.conv.2.weight' is not a value"),  # an activation has none
        ("features.99.conv.0.weight", "there is no block 98: the network has 17"),
    ],
)
def test_a_file_with_a_published_name_and_other_values_is_refused(
    published: tuple[str, PublishedMobileNetV2, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    message: str,
) -> None:
    name, _, _ = published
    torch.save({value: torch.zeros(1)}, tmp_path / name)
    monkeypatch.setenv(WEIGHTS_DIR, str(tmp_path))
    with pytest.raises(
        WeightsError, match=f"{re.escape(name)} does not hold the weights of mobilenetv2_075: {message}"
    ):
        fetch_pretrained("mobilenetv2_075")


class _Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path(_Bomb.target),))

    target = ""


def test_a_file_s_code_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _Bomb.target = str(tmp_path / "exploded")
    (tmp_path / "mobilenetv2_100.pth").write_bytes(pickle.dumps({"conv_stem.weight": _Bomb()}, protocol=2))
    monkeypatch.setenv(WEIGHTS_DIR, str(tmp_path))
    with pytest.raises(WeightsError, match=r"mobilenetv2_100\.pth .* cannot be read as weights"):
        fetch_pretrained("mobilenetv2_100")
    assert not (tmp_path / "exploded").exists()


def with_attribute() -> OrderedDict[str, Tensor]:
    """A state_dict whose attribute is of another type than torch's."""
    values = OrderedDict({"conv_stem.weight": torch.zeros(3)})
    values._metadata = [1]  # type: ignore[attr-defined]
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2], "is not a state_dict of tensors"),
        ({3: torch.zeros(3)}, "is not a state_dict of tensors"),
        (with_attribute(), "does not hold the weights of mobilenetv2_100"),
        ({"conv_stem.weight": torch.zeros(3)}, "does not hold the weights of mobilenetv2_100"),
    ],
)
def test_a_file_of_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: object, message: str
) -> None:
    torch.save(values, tmp_path / "mobilenetv2_100.pt")
    monkeypatch.setenv(WEIGHTS_DIR, str(tmp_path))
    with pytest.raises(WeightsError, match=message):
        fetch_pretrained("mobilenetv2_100")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
@pytest.mark.parametrize("num_bytes", [0, 1, 1000, -1000])
def test_a_file_that_is_cut_short_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, num_bytes: int
) -> None:
    path = tmp_path / f"mobilenetv2_100{suffix}"
    values = {"conv_stem.weight": torch.zeros(500)}
    if suffix == ".safetensors":
        safetensors.torch.save_file(values, path)
    else:
        torch.save(values, path, _use_new_zipfile_serialization=suffix == ".pth")  # .bin in the format before torch 1.6
    path.write_bytes(path.read_bytes()[:num_bytes])
    monkeypatch.setenv(WEIGHTS_DIR, str(tmp_path))
    size = path.stat().st_size
    with pytest.raises(
        WeightsError, match=rf"mobilenetv2_100\{suffix} \({size} bytes\) cannot be read as weights"
    ) as caught:
        fetch_pretrained("mobilenetv2_100")
    assert "put a whole file there" in caught.value.hint
    assert why_unavailable("mobilenetv2_100")
