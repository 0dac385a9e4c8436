"""Scores a named network on a dataset."""

from collections.abc import Callable, Sequence

import click

from spaces import Architecture
from spaces.aspect import in_words, parse_aspect
from spaces.counted import counted
from trials.data import DatasetError, Sample, open_dataset
from trials.data.common_aspect import RARE, common_aspect, count_half_empty
from trials.data.image_check import check_images
from trials.gpus import find_gpus
from trials.scoring import Scores, label_as_network, score_detections, score_network
from trials.training import load_trained, read_checkpoint
from trials.trial_result import ONNX_FILE
from yoloret_nas.export.bundle import EFFICIENT_NMS_FILE, NMS_FILE, open_bundle
from yoloret_nas.export.proof import detect_all
from yoloret_nas.options.data import fetch_data, showing_check, showing_images
from yoloret_nas.sources import Source, SourceError
from yoloret_nas.terminal.console import progress_console


def score_source(
    source: Source,
    *,
    data: str,
    split: str,
    notice: Callable[[str], None],
    batch_size: int = 16,
    skip_broken: bool = False,
) -> tuple[Scores, int]:
    """Score a trained network on a split of a dataset, on a GPU where there is one; an export's file as `run.py` runs it.

    Args:
        source: The network.
        data: The dataset.
        split: One of its splits.
        notice: Receives what is assumed of the dataset, and what is left out of it.
        batch_size: Images at once.
        skip_broken: Whether broken items are left out rather than refused.

    Returns:
        The scores, and the number of images.

    Raises:
        SourceError: it has no weights, or is the file with non-maximum suppression.
        DatasetError: the data cannot be read, has classes that the network does not know, or no object in the split.
        click.BadParameter: there is no such split.
    """
    if source.file is not None and source.file.name in (NMS_FILE, EFFICIENT_NMS_FILE):
        raise SourceError(
            f"{source.label} cannot be scored: it leaves out boxes below the score it was exported with, and AP counts all",
            hint=f"score {source.file.with_name(ONNX_FILE)}, the same network",
        )
    detector = None if source.file is None else open_bundle(source.file.parent, source.file.name)
    checkpoint = None if detector else read_checkpoint(source.checkpoint)
    fetch_data(data, progress_console())
    dataset = open_dataset(data, on_broken="skip" if skip_broken else "stop", scored=split)
    with showing_check(progress_console()) as report_check:
        checked = check_images(dataset, splits=(split,), skip_broken=skip_broken, report=report_check)
        dataset = checked.dataset
    for note in (*dataset.notes, *(f"left out: {line}" for line in dataset.left_out)):
        notice(note)
    if split not in dataset.splits:
        raise click.BadParameter(
            f"{dataset.name} has no split {split!r}, only {', '.join(dataset.splits)}", param_hint="--split"
        )
    num_images = len(dataset.splits[split])
    if not any(sample.has_object for sample in dataset.splits[split]):
        raise DatasetError(
            f"{dataset.name}: its {split} split has {counted(num_images, 'image(s)')} and no object to find"
        )
    _note_margins(dataset.splits[split], source.architecture, notice)
    if detector is not None:
        samples = label_as_network(dataset, split, detector.class_names, name=source.label)
        with showing_images(progress_console(), f"trying {source.label} on") as report:
            found = detect_all(detector, samples, report)
        return score_detections(found, samples, class_names=detector.class_names), num_images
    assert checkpoint is not None
    samples = label_as_network(dataset, split, checkpoint.decoding.class_names, name=source.label)
    usable = find_gpus().usable
    network = load_trained(source.architecture, checkpoint).to(f"cuda:{usable[0]}" if usable else "cpu")
    return score_network(network, samples, decoding=checkpoint.decoding, batch_size=batch_size), num_images


def _note_margins(samples: Sequence[Sample], architecture: Architecture, notice: Callable[[str], None]) -> None:
    height, width = architecture.input_hw
    num_half_empty = count_half_empty(samples, (width, height))
    if num_half_empty > RARE * len(samples):
        suited = common_aspect(samples)
        is_better = count_half_empty(samples, parse_aspect(suited)) < num_half_empty
        way_out = f"yoloret-nas train … --aspect {suited} suits them better" if is_better else "cut them into tiles"
        notice(
            f"{counted(num_half_empty, 'image(s) leaves|leave')} over half of the network's input, "
            f"{in_words(architecture.input_hw)} px, to the margins: {way_out}"
        )
