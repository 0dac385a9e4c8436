"""`yoloret_nas.train`: one network in full, from Python; and what the command shares with it."""

import re
from pathlib import Path
from typing import Literal

from rich.console import Console

from search.study.experiment import Variant, find_begun
from trials.training import Precision, RecipeName, TrainingError
from yoloret_nas.api.experiment import prepare, run_variants, to_settings, with_input
from yoloret_nas.api.trial import Trial
from yoloret_nas.options.data import as_typed, data_name
from yoloret_nas.options.training import TrainingOptions, weights_from
from yoloret_nas.options.values import check_at_least
from yoloret_nas.sources import Network, find_source
from yoloret_nas.terminal.console import open_console


def train(
    network: Network,
    *,
    data: str | Path = "shapes",
    device: str = "cpu",
    recipe: RecipeName | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    input_size: int | None = None,
    aspect: str | None = None,
    weights: Literal["auto", "imagenet", "random"] = "auto",
    weights_dir: str | Path | None = None,
    precision: Precision = "auto",
    skip_broken: bool = False,
    accept_changed_data: bool = False,
    name: str | None = None,
    seed: int = 0,
    dir: str | Path = "runs",
    quiet: bool = False,
) -> Trial:
    """Train a network in full: measured, scored, tracked in MLflow like a search's trial; call it again to resume.

    It is `yoloret-nas train`: the arguments are the command's options.

    Args:
        network: A preset (``yoloret-m0.75``), a YAML or JSON file of one architecture, ``STUDY:TRIAL``, ``STUDY`` for the
            knee of its front, an export's folder or one of its files, a trial's ``checkpoint.pt``, or an `Architecture`.
            Its weights are not used.
        data: A folder (VOC, COCO, YOLO, LabelMe, …), ``voc`` or ``coco`` (fetched), or generated ``shapes``.
        device: Where latency is measured: ``cpu``, ``cpu:threads=N``, ``cuda``, ``cuda:N``, ``ssh://host``.
        recipe: How to train; None for ``quick`` on generated images, else ``modern``.
        epochs: None for the recipe's.
        batch_size: Images of a step; None for the recipe's.
        input_size: Longer side of its input, pixels; None for the network's own.
        aspect: Width to height of its input, as ``16:9``; None for the network's own.
        weights: Initial weights: ``auto`` takes ImageNet's where the network asks for them and they are available.
        weights_dir: Folder of ImageNet weights, searched before any download.
        precision: Number format of training.
        skip_broken: Whether broken images and annotations are left out instead of ending the training.
        accept_changed_data: Whether to resume though images or annotations changed.
        name: Names it for `open_study`; None for a name made of network and data.
        seed: Of initial weights, order and augmentation.
        dir: Folder of the studies.
        quiet: Prints no progress.

    Returns:
        The trained network.

    Raises:
        YoloRetError: the training fails, or the network, the data, the device or an argument is wrong.
        KeyboardInterrupt: it was interrupted; the same call resumes.
    """
    check_at_least(0, seed=seed)
    options = TrainingOptions(
        data=as_typed(data),
        device=device,
        recipe=recipe,
        epochs=epochs,
        batch_size=batch_size,
        input_size=input_size,
        aspect=aspect,
        weights=weights,
        weights_dir=None if weights_dir is None else Path(weights_dir).expanduser(),
        precision=precision,
        skip_broken=skip_broken,
        accept_changed_data=accept_changed_data,
        root=Path(dir).expanduser(),
    )
    with weights_from(options.weights_dir):
        return train_network(network, name=name, seed=seed, options=options, console=open_console(quiet=quiet))


def train_network(
    network: Network, *, name: str | None, seed: int, options: TrainingOptions, console: Console
) -> Trial:
    """Train a network in full; print its progress.

    Raises:
        TrainingError: the training failed.
        KeyboardInterrupt: it was interrupted.
    """
    found = find_source(network, root=options.root)
    label = re.sub(r"[^\w.]+", "-", found.label)
    settings = to_settings(name or f"train-{label}-{data_name(options.data)}", options)
    asked = with_input(found.architecture, options)
    variant = find_begun(settings, Variant(label=found.label, architecture=asked, seed=seed))
    if variant is None or options.weights != "auto":
        architecture = prepare(found.architecture, options, console=console)
        variant = Variant(label=found.label, architecture=architecture, seed=seed)
    elif variant.architecture != asked:
        start, other = ("ImageNet", "random") if variant.architecture.transfer else ("random", "imagenet")
        console.print(
            f"note: {settings.name} began from {start} weights and goes on so (--weights {other} for another training)",
            markup=False,
            soft_wrap=True,
        )
    is_random = options.weights == "random" or (options.weights == "auto" and not found.architecture.transfer)
    if options.weights_dir is not None and is_random:
        console.print("note: --weights-dir is not used: the training starts from random weights", soft_wrap=True)
    (record,) = run_variants(settings, [variant], console=console)
    if record.point is None:
        raise TrainingError(f"the training failed: {record.result.reason}")
    return Trial(study=settings.name, record=record, root=settings.root)
