import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DistributedSampler

from spaces import Architecture
from spaces.networks import build_network
from tests.trials.training.tiny_network import ANCHORS, TinyNetwork, tiny_network
from trials.data import Dataset, DatasetError
from trials.data.augmentation import AugmentSettings, modern_augmentation
from trials.data.batches import TrainingBatches
from trials.data.shapes import ShapesSettings, make_shapes
from trials.detections import choose_anchors
from trials.detections.decoding import OutputError
from trials.progress import Progress, Report, ignore_progress
from trials.scoring import score_network
from trials.training import (
    CHECKPOINT_FILE,
    DivergedError,
    OutOfMemoryError,
    TrainingError,
    TrainSettings,
    load_trained,
    read_checkpoint,
)
from trials.training.data_module import DetectionData
from trials.training.last_checkpoint import LastCheckpoint, find_last
from trials.training.losses.aligned_loss import AlignedLossSettings
from trials.training.recipes import paper_recipe
from trials.training.train import TrainResult, choose_precision, describe_machine, train_network

pytestmark = pytest.mark.filterwarnings("error")

DATASET = make_shapes(ShapesSettings(num_train=16, num_val=6, size=64, num_classes=2, max_objects=2))
QUICK = TrainSettings(epochs=3, batch_size=4, accelerator="cpu", learning_rate=5e-3)
Train = Callable[..., TrainResult]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    def run(
        settings: TrainSettings = QUICK,
        *,
        network: nn.Module | None = None,
        report: Report = ignore_progress,
        dataset: Dataset = DATASET,
        resume: bool = False,
        pretrained: Sequence[nn.Module] = (),
    ) -> TrainResult:
        return train_network(
            network or tiny_network(2),
            dataset=dataset,
            anchors=ANCHORS,
            input_hw=(64, 64),
            settings=settings,
            report=report,
            work_dir=tmp_path,
            resume=resume,
            pretrained=pretrained,
        )

    return run


class Recorder:
    """Keeps what was reported, and says stop at the scores of one epoch."""

    def __init__(self, *, stop_at: int = 0) -> None:
        self.seen: list[Progress] = []
        self._stop_at = stop_at

    def __call__(self, progress: Progress) -> bool:
        self.seen.append(progress)
        return progress.ap is None or progress.epoch != self._stop_at


def test_a_tiny_network_learns_a_few_images(train: Train, tmp_path: Path) -> None:
    few = DATASET.splits["train"][:8]
    dataset = replace(DATASET, splits={"train": few, "val": few})
    settings = replace(
        QUICK, epochs=100, batch_size=8, learning_rate=2e-2, score_every=50, augmentation=AugmentSettings()
    )
    network = TinyNetwork(2, width=32)
    result = train(settings, network=network, dataset=dataset)
    assert result.state == "complete"
    assert result.ap50 > 0.5
    assert [row[0] for row in result.history if row[2] is not None] == [50, 100]


DECOUPLED = Architecture(
    backbone="mobilenetv3_small_050", truncation=11, head="decoupled", head_width=16, input_size=64
)


def train_decoupled(folder: Path, settings: TrainSettings, **changes: Any) -> TrainResult:
    torch.manual_seed(0)
    architecture = DECOUPLED.replace(**changes.pop("architecture", {}))
    network = build_network(architecture, num_classes=2)
    return train_network(
        network,
        dataset=DATASET,
        anchors=choose_anchors(network, DATASET.splits["train"], input_hw=architecture.input_hw),
        input_hw=architecture.input_hw,
        settings=settings,
        report=ignore_progress,
        work_dir=folder,
        **changes,
    )


@pytest.mark.parametrize("architecture", [{}, {"head": "fpn", "aspect": "3:2", "input_size": 96}, {"aspect": "1:2"}])
def test_a_network_learns_by_the_loss_of_its_head_and_is_scored_as_it_is_decoded(
    tmp_path: Path, architecture: dict[str, Any]
) -> None:
    network = DECOUPLED.replace(**architecture)
    settings = replace(QUICK, epochs=8, learning_rate=1e-2, score_every=8, ema_decay=0.0)
    result = train_decoupled(tmp_path, settings, architecture=architecture)
    losses = [loss for _, loss, *_ in result.history]
    assert losses[-1] < 0.9 * losses[0]
    checkpoint = read_checkpoint(tmp_path / CHECKPOINT_FILE)
    assert checkpoint.decoding.input_hw == network.input_hw
    if network.head == "decoupled":
        assert checkpoint.decoding.coding == "distances"
        assert checkpoint.decoding.anchors == (((8.0, 8.0),), ((16.0, 16.0),), ((32.0, 32.0),))
    trained = load_trained(network, checkpoint)
    assert score_network(trained, DATASET.splits["val"], decoding=checkpoint.decoding).ap == pytest.approx(result.ap)


def test_the_settings_of_its_loss_reach_it(tmp_path: Path) -> None:
    heavier = AlignedLossSettings(class_weight=100.0)
    losses = [
        train_decoupled(tmp_path, replace(QUICK, epochs=1, aligned_loss=one)).history[0][1]
        for one in (AlignedLossSettings(), heavier)
    ]
    assert losses[1] > 5 * losses[0]


def test_what_a_parent_of_another_width_lacks_starts_from_its_average(tmp_path: Path) -> None:
    """Classes that all scored a half at first made the first loss thirty times as large."""
    still = replace(QUICK, epochs=1, learning_rate=1e-12, ema_decay=0.0)
    parent = train_decoupled(tmp_path, still, architecture={"head_width": 24})
    weights = read_checkpoint(tmp_path / CHECKPOINT_FILE).weights
    child = train_decoupled(tmp_path, still, parent=weights)
    assert 0 < child.inherited < 1
    assert parent.inherited == 0
    assert child.history[0][1] < 2 * parent.history[0][1]


def test_gradients_are_clipped(train: Train) -> None:
    def trained(**changes: float) -> Tensor:
        torch.manual_seed(0)
        network = tiny_network(2)
        train(replace(plain, **changes), network=network)
        return torch.cat([value.detach().flatten() for value in network.parameters()])

    plain = replace(QUICK, epochs=1, optimiser="sgd", learning_rate=1e-4, weight_decay=0.0, ema_decay=0.0)
    still = trained(learning_rate=1e-12)
    clipped, free = (float((trained(clip_norm=norm) - still).abs().max()) for norm in (1e-6, 0.0))
    assert clipped < 1e-6 < 1e-4 < free


def test_bfloat16_trains_on_a_network_with_strided_depthwise_convolutions(train: Train) -> None:
    architecture = Architecture(
        backbone="mobilenetv3_small_050",
        truncation=8,
        outputs=(8, 16),
        neck="none",
        scale_set=None,
        rfcr_width=0,
        rfcr_channels=0,
        rfcr_kernel=0,
        head="plain",
        head_width=32,
        input_size=64,
    )
    torch.manual_seed(0)
    network = build_network(architecture, num_classes=2)
    before = {name: value.clone() for name, value in network.named_parameters()}
    result = train(replace(QUICK, precision="bf16", epochs=2), network=network)
    assert result.state == "complete"
    assert math.isfinite(result.history[-1][1])
    changed = [name for name, value in network.named_parameters() if not torch.equal(value, before[name])]
    assert len(changed) > 0.9 * len(before)
    assert all(value.dtype == torch.float32 for value in network.parameters())


@pytest.mark.parametrize(
    ("precision", "is_gpu", "is_fast", "expected"),
    [
        ("auto", False, True, "bf16"),
        ("auto", False, False, "fp32"),
        ("auto", True, True, "bf16"),
        ("auto", True, False, "fp32"),
        ("bf16", False, False, "bf16"),
        ("fp32", True, True, "fp32"),
    ],
)
def test_the_number_format_follows_from_the_processor(
    monkeypatch: pytest.MonkeyPatch, precision: Any, is_gpu: bool, is_fast: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: is_fast is not is_gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: is_fast is is_gpu)
    assert choose_precision(TrainSettings(precision=precision), is_gpu=is_gpu) == expected


@pytest.mark.parametrize("input_size", [64, 256])
@pytest.mark.parametrize("is_fast", [True, False])
def test_networks_of_all_sizes_train_in_one_format_which_the_result_tells_and_are_scored_in_float32(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, input_size: int, is_fast: bool
) -> None:
    class Watching(TinyNetwork):
        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            is_cast = torch.is_autocast_enabled("cpu")
            formats[self.training].add(torch.get_autocast_dtype("cpu") if is_cast else torch.float32)
            return super().forward(images)

    formats: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: is_fast)
    result = train_network(
        Watching(2),
        dataset=DATASET,
        anchors=ANCHORS,
        input_hw=(input_size, input_size),
        settings=replace(QUICK, epochs=1),
        report=ignore_progress,
        work_dir=tmp_path,
    )
    assert result.precision == ("bf16" if is_fast else "fp32")
    assert formats == {True: {torch.bfloat16 if is_fast else torch.float32}, False: {torch.float32}}


def test_the_result_tells_what_was_done(train: Train) -> None:
    recorder = Recorder()
    torch.set_num_threads(2)
    result = train(replace(QUICK, score_every=2, num_threads=1), report=recorder)
    assert (result.state, result.epochs, len(result.history)) == ("complete", 3, 3)
    assert [epoch for epoch, _, ap, _ in result.history if ap is not None] == [2, 3]
    assert result.history[-1] == (3, result.history[-1][1], result.ap, result.ap50)
    assert set(result.per_class_ap) <= set(DATASET.class_names)
    assert result.seconds_train > 0
    assert result.trained_on == "CPU, 1 threads, 0 data workers"
    assert torch.get_num_threads() == 1
    ends = [one for one in recorder.seen if one.phase == "train" and one.step == one.num_steps]
    assert [(one.epoch, one.num_epochs, one.num_steps) for one in ends] == [(1, 3, 4), (2, 3, 4), (3, 3, 4)]
    assert [(one.ap, one.ap50) for one in ends] == [row[2:] for row in result.history]


def test_a_gpu_is_named_as_the_process_was_given_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,0")
    assert describe_machine(is_gpu=True, num_workers=8) == "GPU 3 (NVIDIA H200), 8 data workers"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert describe_machine(is_gpu=True, num_workers=1) == "GPU 0 (NVIDIA H200), 1 data workers"


def test_scoring_is_reported_every_half_second(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trials.training.epoch_reports.REPORT_EVERY_S", 0.0)
    recorder = Recorder()
    train(replace(QUICK, epochs=2, score_every=2), report=recorder)
    seen = [(one.phase, one.epoch, one.step, one.num_steps) for one in recorder.seen]
    assert seen == [
        *(("train", 1, step, 4) for step in (1, 2, 3, 4)),
        *(("train", 2, step, 4) for step in (1, 2, 3)),
        ("score", 2, 4, 6),
        ("score", 2, 6, 6),
        ("train", 2, 4, 4),
    ]


def test_the_same_seed_gives_the_same_result_and_another_does_not(train: Train) -> None:
    first, again, other = train(), train(), train(replace(QUICK, seed=1))
    assert first.history == again.history
    assert first.history != other.history


def test_one_line_is_neither_printed_nor_warned(train: Train, capfd: pytest.CaptureFixture[str]) -> None:
    train(replace(QUICK, epochs=1))
    assert capfd.readouterr() == ("", "")


def test_the_checkpoint_gives_the_score_again(train: Train, tmp_path: Path) -> None:
    network = tiny_network(2)
    result = train(network=network)
    checkpoint = read_checkpoint(tmp_path / CHECKPOINT_FILE)
    assert checkpoint.decoding.anchors == ANCHORS
    assert checkpoint.decoding.class_names == DATASET.class_names
    assert (checkpoint.decoding.coding, checkpoint.decoding.input_hw) == ("bounded", (64, 64))
    fresh = tiny_network(2, seed=9)
    fresh.load_state_dict(dict(checkpoint.weights))
    for one in (fresh, network):
        scores = score_network(one, DATASET.splits["val"], decoding=checkpoint.decoding)
        assert scores.ap == pytest.approx(result.ap, abs=1e-6)


def test_another_file_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(TrainingError, match=r"other\.pt is not a checkpoint of this version"):
        read_checkpoint(tmp_path / "other.pt")


def test_a_stop_at_a_score_prunes(train: Train, tmp_path: Path) -> None:
    result = train(report=Recorder(stop_at=2))
    assert (result.state, result.epochs) == ("pruned", 2)
    assert result.history[-1][2] == result.ap
    assert (tmp_path / CHECKPOINT_FILE).is_file()


def test_a_stop_at_the_last_epoch_is_complete(train: Train) -> None:
    assert train(report=Recorder(stop_at=3)).state == "complete"


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_resumed_training_ends_as_an_uninterrupted_one(train: Train, tmp_path: Path, num_workers: int) -> None:
    settings = replace(QUICK, epochs=4, is_resumable=True, num_workers=num_workers)
    whole = train(settings)
    (tmp_path / "last.ckpt").unlink()

    def interrupt(progress: Progress) -> bool:
        if progress.epoch == 3:
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        train(settings, report=interrupt)
    seen = Recorder()
    resumed = train(settings, network=tiny_network(2, seed=5), report=seen, resume=True)
    assert min(one.epoch for one in seen.seen) == 3
    assert resumed.history == whole.history
    assert 0 == whole.seconds_before < resumed.seconds_before < resumed.seconds_train + resumed.seconds_score


def test_a_training_of_another_version_is_not_resumed(train: Train, tmp_path: Path) -> None:
    torch.save({"callbacks": {"EpochReports": {"num_images": 3}}}, tmp_path / "last.ckpt")
    with pytest.raises(TrainingError, match=r"another version of yoloret-nas wrote .*last\.ckpt") as caught:
        train(replace(QUICK, is_resumable=True), resume=True)
    assert "starts over" in caught.value.hint


def test_a_training_is_not_resumed_on_other_data(tmp_path: Path) -> None:
    callback = LastCheckpoint(tmp_path, data="former")
    torch.save({"callbacks": {"LastCheckpoint": callback.state_dict()}}, tmp_path / "last.ckpt")
    assert find_last(tmp_path, data="former") == tmp_path / "last.ckpt"
    assert find_last(tmp_path, data="present") is None


@pytest.mark.parametrize("stop_at", [0, 2])
def test_a_training_that_was_over_resumes_to_its_result(train: Train, tmp_path: Path, stop_at: int) -> None:
    settings = replace(QUICK, is_resumable=True)
    whole = train(settings, report=Recorder(stop_at=stop_at))
    assert (tmp_path / "last.ckpt").is_file()
    network, seen = tiny_network(2, seed=5), Recorder(stop_at=stop_at)
    resumed = train(settings, network=network, report=seen, resume=True)
    assert {one.epoch for one in seen.seen} == {stop_at or settings.epochs}
    assert (resumed.state, resumed.history) == (whole.state, whole.history)
    again = score_network(network, DATASET.splits["val"], decoding=read_checkpoint(tmp_path / CHECKPOINT_FILE).decoding)
    assert again.ap == pytest.approx(whole.ap, abs=1e-6)


def test_without_an_average_the_last_weights_are_scored(train: Train) -> None:
    assert train(replace(QUICK, ema_decay=0.0)).history != train().history


@pytest.mark.parametrize("num_pretrained", [0, 1, 2])
def test_the_paper_s_recipe_freezes_what_is_pretrained_then_thaws_it(train: Train, num_pretrained: int) -> None:
    network = tiny_network(2, has_bias=False)
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    changed: dict[int, set[str]] = {}

    def watch(progress: Progress) -> bool:
        state = network.backbone.state_dict()
        changed[progress.epoch] = {name[0] for name, value in state.items() if not torch.equal(value, before[name])}
        return True

    settings = replace(paper_recipe(), epochs=3, frozen_epochs=2, batch_size=4, accelerator="cpu")
    train(settings, network=network, report=watch, pretrained=list(network.backbone)[:num_pretrained])
    learning = {"0", "1"} - {str(number) for number in range(num_pretrained)}
    assert changed == {1: learning, 2: learning, 3: {"0", "1"}}


class Exploding(TinyNetwork):
    """Gives NaN, or fails, at its third batch."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__(2)
        self._failure = failure
        self._batches = 0

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        self._batches += 1
        maps = super().forward(images)
        if self._batches < 3:
            return maps
        if self._failure is not None:
            raise self._failure
        return tuple(one * math.nan for one in maps)


def test_a_loss_that_is_not_finite_ends_the_training(train: Train) -> None:
    with pytest.raises(DivergedError, match=r"the loss is nan at epoch 1, step 3, learning rate 0\.\d+"):
        train(network=Exploding())


@pytest.mark.parametrize("ema_decay", [0.0, 0.999])
def test_a_gradient_that_overflows_in_the_last_step_is_no_score(train: Train, tmp_path: Path, ema_decay: float) -> None:
    class Overflowing(TinyNetwork):
        """Its losses are finite; the gradient of the fourth batch is not."""

        num_batches = 0

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            maps = super().forward(images)
            self.num_batches += self.training
            if self.training and self.num_batches == 4:
                maps[0].register_hook(lambda gradient: gradient * math.inf)
            return maps

    network, recorder = Overflowing(2), Recorder()
    with pytest.raises(OutputError, match="values in the network's outputs are NaN or infinite"):
        train(replace(QUICK, epochs=1, ema_decay=ema_decay), network=network, report=recorder)
    assert network.num_batches == 4
    assert all(one.loss is None or math.isfinite(one.loss) for one in recorder.seen)
    assert not (tmp_path / CHECKPOINT_FILE).exists()


@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    ],
)
def test_memory_that_runs_out_is_named(train: Train, failure: Exception) -> None:
    with pytest.raises(OutOfMemoryError, match="memory ran out in training with batches of 4") as caught:
        train(network=Exploding(failure))
    assert caught.value.hint == "lower the batch size, or run fewer trainings at once (--workers 1)"


def test_another_error_stays_what_it_is(train: Train) -> None:
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(network=Exploding(RuntimeError("shapes do not fit")))


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_objects_is_refused(train: Train, split: str) -> None:
    empty = tuple(replace(one, ignored=np.ones_like(one.ignored)) for one in DATASET.splits[split])
    dataset = replace(DATASET, splits={**DATASET.splits, split: empty})
    with pytest.raises(TrainingError, match=f"its {split} split has {len(empty)} images? and no object"):
        train(dataset=dataset)


def test_images_without_objects_are_fine(train: Train) -> None:
    def without_objects(one: Any) -> Any:
        return replace(one, boxes=one.boxes[:0], labels=one.labels[:0], ignored=one.ignored[:0])

    samples = DATASET.splits["train"]
    mixed = (samples[0], *(without_objects(one) for one in samples[1:]))
    assert train(dataset=replace(DATASET, splits={**DATASET.splits, "train": mixed})).state == "complete"


def test_fewer_images_than_a_batch_make_one_step(train: Train) -> None:
    recorder = Recorder()
    few = replace(DATASET, splits={**DATASET.splits, "train": DATASET.splits["train"][:3]})
    train(dataset=few, report=recorder)
    assert {one.num_steps for one in recorder.seen if one.ap is not None} == {1}


def test_the_order_of_images_follows_from_seed_and_epoch() -> None:
    def orders(seed: int) -> list[list[int]]:
        data = DetectionData(DATASET, (64, 64), settings=replace(QUICK, seed=seed), num_workers=0)
        loader = data.train_dataloader()
        found = []
        for epoch in (0, 1):
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]  # as Lightning does
            found.append([int(index) for batch in loader for index in batch.sample_index])
        return found

    first, second = orders(0)
    assert sorted(first) == sorted(second) == list(range(16))
    assert first != second
    assert orders(1)[0] == second  # both are the permutation of seed + epoch, as torch's DistributedSampler has it
    theirs = DistributedSampler(range(16), num_replicas=1, rank=0, seed=0)  # type: ignore[var-annotated,arg-type]
    theirs.set_epoch(1)
    assert list(theirs) == second


def test_what_breaks_in_a_data_worker_is_said_in_its_own_words(train: Train) -> None:
    broken = [replace(sample, load=_break) for sample in DATASET.splits["train"]]
    dataset = replace(DATASET, splits={**DATASET.splits, "train": tuple(broken)})
    for num_workers in (0, 1):
        with pytest.raises(DatasetError) as caught:
            train(replace(QUICK, num_workers=num_workers), dataset=dataset)
        assert caught.value.message == "a.jpg: the image cannot be read"
        assert caught.value.hint == "replace the file"


@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGKILL])
def test_a_data_worker_that_a_signal_ends_is_said_to_lack_memory(train: Train, number: signal.Signals) -> None:
    ended = tuple(replace(sample, load=partial(_end_by, number)) for sample in DATASET.splits["train"])
    dataset = replace(DATASET, splits={**DATASET.splits, "train": ended})
    with pytest.raises(OutOfMemoryError, match=r"a process that loads images was killed, .* /dev/shm") as caught:
        train(replace(QUICK, num_workers=1), dataset=dataset)
    assert "docker run --shm-size=2g" in caught.value.hint


def _end_by(number: signal.Signals) -> Any:
    os.kill(os.getpid(), number)
    time.sleep(60)  # a signal's handler runs in this process


@pytest.mark.usefixtures("slurm_job")
def test_a_job_of_slurm_trains_as_any_process_does(train: Train) -> None:
    handlers = set()
    train(replace(QUICK, epochs=1), report=lambda _: bool(handlers.add(signal.getsignal(signal.SIGUSR1))) or True)
    assert handlers == {signal.SIG_DFL}


def _break() -> Any:
    raise DatasetError("a.jpg: the image cannot be read", hint="replace the file")


def test_the_calm_epochs_are_the_last() -> None:
    for calm_epochs, calm_from in ((0, None), (3, 7), (10, 0), (30, 0)):
        settings = replace(QUICK, epochs=10, calm_epochs=calm_epochs, augmentation=modern_augmentation())
        data = DetectionData(DATASET, (64, 64), settings=settings, num_workers=0)
        batches = data.train_dataloader().dataset
        assert isinstance(batches, TrainingBatches)
        plain = TrainingBatches(
            DATASET.splits["train"], (64, 64), augmentation=modern_augmentation(), calm_from=calm_from
        )
        for epoch in (0, 6, 7, 9):
            for one in (batches, plain):
                one.set_epoch(epoch)
            assert torch.equal(batches[0].image, plain[0].image)
