import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from spaces import Architecture
from spaces.networks import build_network
from tests.trials.training.tiny_network import ANCHORS, STRIDES, TinyNetwork, tiny_network
from trials.data.batches import Batch
from trials.data.images.letterbox import as_network_input
from trials.detections import Decoding
from trials.scoring import DetectionScorer
from trials.training import RECIPES, TrainSettings
from trials.training.detection_module import DetectionModule, initialise_prediction_bias, set_frozen, split_targets
from trials.training.losses.anchored_loss import DetectionLoss, modern_loss
from trials.training.optimiser import OptimiserFactory, learning_rate_at, plan_stages
from trials.training.recipes import modern_recipe, paper_recipe

NUM_CLASSES = 4
DECODING = Decoding(anchors=ANCHORS, coding="bounded", class_names=tuple("abcd"), input_hw=(64, 64))


def random_batch(*, num_images: int = 2, size: int = 64) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.randint(256, (num_images, 3, size, size), dtype=torch.uint8, generator=generator),
        boxes=torch.tensor([[4.0, 4.0, 20.0, 24.0], [30.0, 30.0, 60.0, 62.0], [0.0, 0.0, 64.0, 64.0]]),
        labels=torch.tensor([0, 3, 1]),
        image_index=torch.tensor([0, 1, 1]),
        ignored=torch.tensor([False, False, True]),
        sample_index=torch.arange(num_images),
    )


def make_detector(network: nn.Module, settings: TrainSettings) -> DetectionModule:
    return DetectionModule(
        network,
        DetectionLoss(ANCHORS, STRIDES, settings.loss),
        scorer=DetectionScorer((), DECODING, strides=STRIDES),
        make_optimiser=OptimiserFactory(settings=settings, steps_per_epoch=10),
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_gives_every_parameter_a_gradient(recipe: str) -> None:
    detector = make_detector(tiny_network(NUM_CLASSES), RECIPES[recipe]())  # type: ignore[index]
    loss = detector.training_step(random_batch(), 0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()
    assert all(parameter.grad is not None for parameter in detector.parameters())


def test_the_state_of_a_detector_is_the_network_s() -> None:
    network = tiny_network(NUM_CLASSES)
    detector = make_detector(network, TrainSettings())
    assert set(detector.state_dict()) == {f"network.{name}" for name in network.state_dict()}


def test_scoring_keeps_float32_and_training_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export compares the score with that of the network on a CPU, which has no TF32."""
    seen: list[str] = []
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]

    class Noting(TinyNetwork):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            seen.append(convolutions.fp32_precision)
            return super().forward(images)

    detector = make_detector(Noting(NUM_CLASSES), TrainSettings())
    monkeypatch.setattr(detector._scorer, "update", lambda maps, index: None)
    detector.training_step(random_batch(), 0)
    detector.validation_step(random_batch(), 0)
    assert seen == ["tf32", "ieee"]


def test_ignored_boxes_are_set_apart() -> None:
    objects, ignored = split_targets(random_batch())
    assert objects.labels.tolist() == [0, 3]
    assert ignored.labels.tolist() == [1]
    assert ignored.images.tolist() == [1]


def test_images_enter_normalised_and_channels_last() -> None:
    images = as_network_input(torch.full((2, 3, 8, 8), 255, dtype=torch.uint8))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images[0, :, 0, 0].tolist() == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])


def test_frozen_modules_neither_learn_nor_count() -> None:
    network = tiny_network(NUM_CLASSES)
    detector = make_detector(network, TrainSettings())
    optimiser, _ = OptimiserFactory(settings=TrainSettings(), steps_per_epoch=10)(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    set_frozen([network.backbone[0]], is_frozen=True)
    detector.training_step(random_batch(), 0).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("backbone.0.") for name in changed)
    assert any(name.startswith("backbone.1.") for name in changed)
    assert any(name.startswith("coarser.") for name in changed)
    set_frozen([network.backbone[0]], is_frozen=False)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert network.backbone[0].training


def bias_of(network: TinyNetwork, scale: int) -> torch.Tensor:
    conv = network.prediction_convs[scale]
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    return conv.bias.detach().view(3, 5 + NUM_CLASSES)


def test_the_prior_sets_objectness_and_classes_and_leaves_boxes() -> None:
    network, untouched = tiny_network(NUM_CLASSES), tiny_network(NUM_CLASSES)
    initialise_prediction_bias(network, num_classes=NUM_CLASSES, objects_per_image=4, input_hw=(64, 64))
    for scale, stride in enumerate(STRIDES):
        share = 4 / (64 / stride) ** 2
        bias = bias_of(network, scale)
        assert bias[:, 4].tolist() == pytest.approx([math.log(share / (1 - share))] * 3)
        assert bias[:, 5:].sigmoid().flatten().tolist() == pytest.approx([0.15] * 12)
        assert torch.equal(bias[:, :4], bias_of(untouched, scale)[:, :4])


def test_the_prior_of_a_head_without_anchors_is_the_share_of_cells_with_an_object_of_a_class() -> None:
    architecture = Architecture(backbone="mobilenetv3_small_050", truncation=11, head="decoupled", input_size=64)
    network = build_network(architecture, num_classes=NUM_CLASSES)
    initialise_prediction_bias(network, num_classes=NUM_CLASSES, objects_per_image=0.8, input_hw=(64, 64))
    for conv, stride in zip(network.prediction_convs, (8, 16, 32), strict=True):
        assert conv.bias is not None
        share = min(0.5, 0.8 / (64 / stride) ** 2) / NUM_CLASSES
        assert conv.bias.sigmoid().tolist() == pytest.approx([share] * NUM_CLASSES)


def test_a_prior_without_a_bias_to_hold_it_changes_nothing() -> None:
    network, untouched = tiny_network(NUM_CLASSES, has_bias=False), tiny_network(NUM_CLASSES, has_bias=False)
    initialise_prediction_bias(network, num_classes=NUM_CLASSES, objects_per_image=4, input_hw=(64, 64))
    for name, value in network.state_dict().items():
        assert torch.equal(value, untouched.state_dict()[name])


def test_norms_and_biases_do_not_decay() -> None:
    network = tiny_network(NUM_CLASSES)
    optimiser, _ = OptimiserFactory(settings=TrainSettings(weight_decay=0.1), steps_per_epoch=10)(network)
    decays = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert len(decays) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        is_weight = "conv" in name or parameter.ndim > 1
        assert decays[id(parameter)] == (0.1 if is_weight and not name.endswith("bias") else 0.0)


def test_pretrained_modules_learn_at_their_share_of_the_rate() -> None:
    network = tiny_network(NUM_CLASSES)
    settings = TrainSettings(epochs=4, warmup_epochs=1, learning_rate=0.01, transfer_rate=0.1)
    factory = OptimiserFactory(settings=settings, steps_per_epoch=10, pretrained=[network.backbone])
    optimiser, schedule = factory(network)
    pretrained = {id(parameter) for parameter in network.backbone.parameters()}
    stages = plan_stages(settings, 10)
    for step in range(3):
        rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
        assert len(rates) == len(list(network.parameters()))
        for parameter, rate in rates.items():
            share = 0.1 if parameter in pretrained else 1.0
            assert rate == pytest.approx(share * learning_rate_at(stages, step))
        optimiser.step()
        schedule.step()
    decays = {group["weight_decay"] for group in optimiser.param_groups}
    assert decays == {0.0, settings.weight_decay}


def test_the_paper_s_recipe_has_one_rate_and_ours_a_lower_one_for_pretrained_modules() -> None:
    network = tiny_network(NUM_CLASSES)
    rates = []
    for settings in (paper_recipe(), modern_recipe()):
        factory = OptimiserFactory(settings=settings, steps_per_epoch=10, pretrained=[network.backbone])
        rates.append(sorted({group["initial_lr"] for group in factory(network)[0].param_groups}))
    assert rates == [[1e-4], pytest.approx([1e-3, 1e-2])]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_every_optimiser_follows_the_schedule(name: str) -> None:
    settings = TrainSettings(epochs=4, optimiser=name, warmup_epochs=1)  # type: ignore[arg-type]
    optimiser, schedule = OptimiserFactory(settings=settings, steps_per_epoch=10)(tiny_network(NUM_CLASSES))
    stages = plan_stages(settings, 10)
    for step in range(40):
        assert optimiser.param_groups[1]["lr"] == pytest.approx(learning_rate_at(stages, step))
        optimiser.step()
        schedule.step()


def test_the_rate_warms_up_peaks_and_falls_to_its_floor() -> None:
    settings = TrainSettings(epochs=10, learning_rate=1.0, final_learning_rate=0.1, warmup_epochs=2)
    rates = [learning_rate_at(plan_stages(settings, 10), step) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 21)
    assert rates[20] == pytest.approx(1)
    assert rates[60] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_a_short_training_warms_up_for_a_third_of_it_at_most() -> None:
    (stage,) = plan_stages(TrainSettings(epochs=3, warmup_epochs=3), 10)
    assert stage.warmup_steps == 10


def test_the_paper_s_two_stages_have_a_cosine_each() -> None:
    stages = plan_stages(paper_recipe(), 10)
    rates = [learning_rate_at(stages, step) for step in (0, 500, 999, 1000, 1750, 2499)]
    assert rates == pytest.approx([1e-3, 5e-4, 0, 1e-4, 5e-5, 0], abs=1e-8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be above 0"),
        ({"transfer_rate": -0.1}, "transfer_rate is -0.1; it must be above 0"),
        ({"optimiser": "lion"}, "optimiser 'lion' is unknown; choose one of adamw, adam, sgd"),
        ({"precision": "fp16"}, "precision 'fp16' is unknown; choose one of auto, fp32, bf16"),
        ({"accelerator": "gpu"}, "accelerator 'gpu' is unknown; choose one of auto, cpu"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0; it must be from 0 to below 1"),
        ({"epochs": 3, "frozen_epochs": 3}, "frozen_epochs is 3 of 3 epochs"),
        ({"final_learning_rate": 2.0}, "final_learning_rate is 2.0; it must be from 0 to 1"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainSettings(**changes)  # type: ignore[arg-type]


def test_the_defaults_are_the_modern_recipe_but_for_what_former_versions_lacked() -> None:
    assert TrainSettings() == replace(RECIPES["modern"](), calm_epochs=0)
    assert TrainSettings().loss == modern_loss()
