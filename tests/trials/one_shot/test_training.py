"""Shared weights: trained, resumed, written, scored, and what a trial makes of them."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from spaces import Architecture
from spaces.named_spaces import tiny
from spaces.networks import build_network
from spaces.networks.shared_weights import share
from spaces.space import BackboneChoice, Space
from spaces.weights import WEIGHTS_DIR, load_pretrained
from tests.trials.test_trial import StandInDevice
from trials.data import Dataset
from trials.data.augmentation import AugmentSettings
from trials.data.batches import Batch
from trials.data.images.letterbox import PAD_RGB
from trials.data.shapes import ShapesSettings, make_shapes
from trials.one_shot.detector import shrink
from trials.one_shot.losses import Losses
from trials.one_shot.sandwich import largest_of_each_kind
from trials.one_shot.score import SharedScorer
from trials.one_shot.train import SharedTraining, train_shared
from trials.one_shot.training import SCORES_FILE, SHARED_FILE, read_scores
from trials.one_shot.weights_file import read_shared, write_shared
from trials.progress import Progress, ignore_progress
from trials.scoring import DetectionScorer
from trials.training import CHECKPOINT_FILE, TrainingError, TrainSettings, read_checkpoint
from trials.training.settings import LAST_FILE
from trials.trial import run_trial
from trials.trial_result import DamagedFileError, OneShotTask, TrialRequest

pytestmark = pytest.mark.filterwarnings("error")

DATA = "shapes:train=16,val=6,size=64"
DATASET = make_shapes(ShapesSettings(num_train=16, num_val=6, size=64, num_classes=2, max_objects=2))
SPACE = replace(
    tiny(),
    backbones={"mobilenetv3_small_050": BackboneChoice(truncation=(9, 11))},
    axes={
        "scale_set": ("none", "8+16+32@16>8+16+32"),
        "rfcr_width": (8, 16),
        "rfcr_channels": (16,),
        "head": ("fpn", "decoupled"),
        "head_width": (16, 32),
        "prediction_bias": (True,),
        "input_size": (32, 64),
    },
)
SETTINGS = TrainSettings(epochs=3, batch_size=4, accelerator="cpu", precision="fp32", num_threads=1, is_resumable=True)


class KilledError(Exception):
    """Stands for the end of a process."""


def train(
    folder: Path, settings: TrainSettings = SETTINGS, *, space: Space = SPACE, **arguments: Any
) -> SharedTraining:
    given: dict[str, Any] = {"report": ignore_progress, "dataset": DATASET, **arguments}
    folder.mkdir(exist_ok=True)
    losses = Losses(given["dataset"], settings)
    return train_shared(space, losses=losses, settings=settings, work_dir=folder, **given)


def test_the_networks_of_a_space_learn_together(tmp_path: Path) -> None:
    few = DATASET.splits["train"][:8]
    dataset = replace(DATASET, splits={"train": few, "val": few})
    axes = {**SPACE.axes, "scale_set": ("none",), "shortcut": ("none",), "rfcr_width": (8,), "input_size": (64,)}
    space = replace(SPACE, axes=axes)
    settings = replace(SETTINGS, epochs=40, batch_size=8, learning_rate=2e-2, augmentation=AugmentSettings())
    trained = train(tmp_path, settings, space=space, dataset=dataset)
    assert trained.history[-1][1] < 0.5 * trained.history[0][1]
    scorer = SharedScorer(trained.weights, dataset, Losses(dataset, settings), settings)
    largest = next(one for one in largest_of_each_kind(space) if one.head == "decoupled")
    scored = {width: scorer.score(largest.replace(head_width=width)).ap50 for width in (16, 32)}
    assert min(scored.values()) > 0.3, scored


def test_a_resumed_training_of_shared_weights_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")

    def stop_in_the_third_epoch(progress: Progress) -> bool:
        if progress.epoch == 2 and progress.step == progress.num_steps:
            raise KilledError
        return True

    with pytest.raises(KilledError):
        train(tmp_path / "parts", report=stop_in_the_third_epoch)
    assert (tmp_path / "parts" / LAST_FILE).is_file()
    seen: list[Progress] = []
    resumed = train(tmp_path / "parts", report=lambda one: bool(seen.append(one)) or True)
    assert min(one.epoch for one in seen) > 1
    assert resumed.history == whole.history
    assert resumed.seconds_train > 0
    state = resumed.weights.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.weights.state_dict().items())


@pytest.mark.usefixtures("slurm_job")
def test_a_job_of_slurm_trains_shared_weights_as_any_process_does(tmp_path: Path) -> None:
    assert train(tmp_path, replace(SETTINGS, epochs=1)).history


def test_a_step_shrinks_its_images_once_for_each_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "trials.one_shot.detector.shrink", lambda batch, input_hw: sizes.append(input_hw) or shrink(batch, input_hw)
    )
    train(tmp_path, replace(SETTINGS, epochs=1))
    assert 0 < len(sizes) <= 4 * 2  # steps, input sizes


def test_shared_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    weights = train(tmp_path, replace(SETTINGS, epochs=1)).weights
    write_shared(tmp_path / SHARED_FILE, weights)
    architecture = _largest()
    read = read_shared(tmp_path / SHARED_FILE).extract(architecture).state_dict()
    assert all(torch.equal(value, read[name]) for name, value in weights.extract(architecture).state_dict().items())


@pytest.mark.parametrize("content", [None, b"", b"no weights"])
def test_a_file_that_holds_no_shared_weights_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / SHARED_FILE
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"shared weights .*shared\.pt cannot be read"):
        read_shared(path)


def test_a_checkpoint_is_no_file_of_shared_weights(tmp_path: Path) -> None:
    torch.save({"format": 2, "state_dict": {}}, tmp_path / SHARED_FILE)
    with pytest.raises(TrainingError, match="it holds no shared weights of this version"):
        read_shared(tmp_path / SHARED_FILE)


@pytest.mark.parametrize("num_train", [1, 9, 17])
def test_no_batch_of_one_image_gives_statistics(tmp_path: Path, num_train: int) -> None:
    """At 32 px the last features are of one pixel: one image has no variance there."""
    train_split = (*DATASET.splits["train"], *DATASET.splits["train"])[:num_train]
    dataset = replace(DATASET, splits={**DATASET.splits, "train": train_split})
    weights = share(largest_of_each_kind(SPACE), num_classes=2)
    scorer = SharedScorer(weights, dataset, Losses(dataset, SETTINGS), SETTINGS)
    network = scorer.take_out(_largest().replace(input_size=32))
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())
    assert 0 <= scorer.score(_largest().replace(input_size=32)).ap <= 1


def test_a_network_that_is_taken_out_is_scored_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    update = DetectionScorer.update

    def noted(self: DetectionScorer, *given: Any) -> None:
        seen.append(torch.backends.cudnn.conv.fp32_precision)  # type: ignore[attr-defined]
        update(self, *given)

    monkeypatch.setattr(DetectionScorer, "update", noted)
    weights = share(largest_of_each_kind(SPACE), num_classes=2)
    SharedScorer(weights, DATASET, Losses(DATASET, SETTINGS), SETTINGS).score(_largest().replace(input_size=32))
    assert seen == ["ieee"]


def test_imagenet_weights_are_where_shared_weights_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = "mobilenetv3_small_050"
    classifier = timm.create_model(backbone)
    torch.save(classifier.state_dict(), tmp_path / f"{backbone}.pth")
    monkeypatch.setenv(WEIGHTS_DIR, str(tmp_path))
    space = replace(SPACE, backbones={backbone: BackboneChoice(truncation=(9, 11), transfer=(4,))})
    still = replace(SETTINGS, epochs=1, learning_rate=1e-2, transfer_rate=1e-12, warmup_epochs=0.0, ema_decay=0.0)
    trained = train_shared(
        space,
        dataset=DATASET,
        losses=Losses(DATASET, still),
        settings=still,
        report=ignore_progress,
        work_dir=tmp_path,
    )
    before = share(largest_of_each_kind(SPACE), num_classes=2)
    load_pretrained(before.network(space.skeletons[-1]).network, space.skeletons[-1])
    change = [
        float((value - dict(before.blocks[index].named_parameters())[name]).detach().abs().max())
        for index in (0, 3)
        for name, value in trained.weights.blocks[index].named_parameters()
    ]
    assert max(change) < 1e-5  # they start from ImageNet, and learn at its rate


def test_a_loss_is_where_its_network_is() -> None:
    losses = Losses(DATASET, SETTINGS)
    for head in ("fpn", "decoupled"):
        network = build_network(_largest().replace(head=head), num_classes=2)
        for device in ("cpu", "meta"):
            loss = losses.loss(network, input_hw=(64, 64), device=torch.device(device))
            assert [buffer.device.type for buffer in loss.buffers()] == [device]


def test_a_smaller_image_has_smaller_boxes_and_not_the_tiny_objects() -> None:
    boxes = torch.tensor([[0.0, 0.0, 32.0, 16.0], [8.0, 8.0, 11.0, 40.0], [8.0, 8.0, 11.0, 40.0]])
    batch = Batch(
        images=torch.full((1, 3, 64, 64), 9, dtype=torch.uint8),
        boxes=boxes,
        labels=torch.tensor([1, 0, 2]),
        image_index=torch.tensor([0, 0, 0]),
        ignored=torch.tensor([False, False, True]),
        sample_index=torch.tensor([3]),
    )
    assert shrink(batch, (64, 64)) is batch
    small = shrink(batch, (32, 32))
    assert small.images.shape == (1, 3, 32, 32)
    assert (small.images.float() - 9).abs().max() == 0
    assert small.boxes.tolist() == [[0.0, 0.0, 16.0, 8.0], [4.0, 4.0, 5.5, 20.0]]
    assert (small.labels.tolist(), small.ignored.tolist()) == ([1, 2], [False, True])
    assert small.sample_index.tolist() == [3]


@pytest.mark.parametrize(
    ("input_hw", "box"),
    [
        ((32, 48), [16.0, 4.0, 32.0, 28.0]),  # the same shape
        ((48, 48), [16.0, 12.0, 32.0, 36.0]),  # margins of 8 px above and below
        ((24, 48), [16.0, 0.0, 32.0, 24.0]),  # 4 px lost above and below
    ],
)
def test_a_smaller_input_of_another_shape_has_margins_or_loses_edges(
    input_hw: tuple[int, int], box: list[float]
) -> None:
    images = torch.full((1, 3, 64, 96), 9, dtype=torch.uint8)
    images[:, :, 8:56, 32:64] = 200
    batch = Batch(
        images=images,
        boxes=torch.tensor([[32.0, 8.0, 64.0, 56.0]]),
        labels=torch.tensor([1]),
        image_index=torch.tensor([0]),
        ignored=torch.tensor([False]),
        sample_index=torch.tensor([3]),
    )
    small = shrink(batch, input_hw)
    assert small.images.shape == (1, 3, *input_hw)
    assert small.boxes.tolist() == [box]
    left, top, right, bottom = map(int, box)
    assert (small.images[0, 0, top + 2 : bottom - 2, left + 2 : right - 2] == 200).all()
    if input_hw[0] > 32:
        assert tuple(small.images[0, :, 0, 0].tolist()) == PAD_RGB


# --- as a trial's process does it -------------------------------------------------------------------------------------

MakeRequest = Callable[..., TrialRequest]


@pytest.fixture
def make_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRequest:
    device = StandInDevice()
    monkeypatch.setattr("trials.trial.open_device", lambda spec: device)

    def make(**changes: Any) -> TrialRequest:
        values: dict[str, Any] = {
            "study_id": "a study",
            "number": -1,
            "architecture": _largest(),
            "dataset": DATA,
            "skip_broken": False,
            "device": "cpu",
            "max_latency_ms": None,
            "train": replace(SETTINGS, epochs=1),
            "work_dir": tmp_path / "one-shot",
            "latency_cache": tmp_path / "latency.db",
        }
        return TrialRequest(**{**values, **changes})

    return make


def test_weights_and_scores_are_written_and_the_checkpoint_of_the_training_is_not_kept(
    make_request: MakeRequest,
) -> None:
    seen: list[Progress] = []
    request = make_request(one_shot=OneShotTask(space=SPACE, num_scored=5))
    result = run_trial(request, lambda one: bool(seen.append(one)) or True)
    assert (result.state, result.reason, result.ap, result.latency) == ("complete", "", None, None)
    assert [epoch for epoch, *_ in result.history] == [1]
    scores = read_scores(request.work_dir)
    assert {one for one, _ in scores} == set(SPACE.sample_distinct(5, random.Random("0/scored")))
    sizes = [one.input_size for one, _ in scores]
    assert sizes == sorted(sizes)  # the images of one size at a time are kept in memory
    assert {one.phase for one in seen} == {"build", "train", "score"}
    assert not (request.work_dir / LAST_FILE).exists()
    dataset = _dataset_of(request)
    scorer = SharedScorer(
        read_shared(request.work_dir / SHARED_FILE), dataset, Losses(dataset, request.train), request.train
    )
    assert [scorer.score(one).ap for one, _ in scores] == pytest.approx([ap for _, ap in scores])
    assert {size for _, size in scorer._loaders} == {(sizes[-1], sizes[-1])}


def test_a_trial_begins_with_its_slice_of_the_shared_weights(make_request: MakeRequest, tmp_path: Path) -> None:
    first = make_request(one_shot=OneShotTask(space=SPACE, num_scored=1))
    run_trial(first, ignore_progress)
    architecture = SPACE.skeletons[0].replace(head="decoupled", head_width=16, input_size=64)
    shared = first.work_dir / SHARED_FILE
    trial = make_request(
        number=0,
        architecture=architecture,
        parent=shared,
        is_shared=True,
        train=replace(SETTINGS, epochs=1, learning_rate=1e-12, ema_decay=0.0),  # it stays where it begins
        work_dir=tmp_path / "0000",
    )
    result = run_trial(trial, ignore_progress)
    assert (result.state, result.reason, result.is_from_shared, result.inherited) == ("complete", "", True, 0.0)
    taken = read_checkpoint(trial.work_dir / CHECKPOINT_FILE).weights
    expected = dict(read_shared(shared).extract(architecture).named_parameters())
    assert all(torch.allclose(taken[name], value, atol=1e-6) for name, value in expected.items())
    random_norm = build_network(architecture, num_classes=3).state_dict()["backbone.stem.1.running_var"]
    assert not torch.allclose(taken["backbone.stem.1.running_var"], random_norm, atol=1e-3)


def test_a_trial_whose_shared_weights_are_gone_fails_and_says_so(make_request: MakeRequest, tmp_path: Path) -> None:
    trial = make_request(number=0, parent=tmp_path / "gone.pt", is_shared=True, work_dir=tmp_path / "0000")
    result = run_trial(trial, ignore_progress)
    assert result.state == "failed"
    assert "gone.pt cannot be read" in result.reason


@pytest.mark.parametrize("content", ["", "{}", '{"scores": [[{}, 0.1]]}', '{"scores": 3}'])
def test_damaged_scores_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / SCORES_FILE).write_text(content)
    with pytest.raises(DamagedFileError, match=r"scores\.json is damaged"):
        read_scores(tmp_path)


def _largest() -> Architecture:
    (largest,) = SPACE.largest(num_classes=2)
    return largest


def _dataset_of(request: TrialRequest) -> Dataset:
    from trials.data import open_dataset

    return open_dataset(request.dataset, on_broken="stop")
