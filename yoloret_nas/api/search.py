"""`yoloret_nas.search`: the main job, from Python."""

from collections.abc import Sequence
from pathlib import Path

from search.study.settings import Keep, SamplerName
from trials.training import RecipeName
from yoloret_nas.api.search_plan import plan_search, refit_plan, run_plan
from yoloret_nas.api.study import Study, open_study
from yoloret_nas.options.data import as_typed
from yoloret_nas.options.search import ClusterOptions, SearchOptions
from yoloret_nas.options.training import weights_from
from yoloret_nas.options.values import to_milliseconds
from yoloret_nas.terminal.console import open_console
from yoloret_nas.workers import connected_to


def search(
    *,
    budget: int = 50,
    data: str | Path = "shapes",
    device: str = "cpu",
    also_measure: str | Sequence[str] = (),
    max_latency: float | str | None = None,
    space: str | Path | None = None,
    aspect: str | None = None,
    study: str | None = None,
    epochs: int | None = None,
    recipe: RecipeName | None = None,
    batch_size: int | None = None,
    weights_dir: str | Path | None = None,
    sampler: SamplerName = "ehvi",
    seed: int = 0,
    workers: int | None = None,
    cluster: str | None = None,
    device_host: str | None = None,
    gpus_per_trial: float | None = None,
    cpus_per_trial: float | None = None,
    prune: bool = True,
    inherit: bool = False,
    one_shot: bool = False,
    prior: str | Path | Sequence[str | Path] = (),
    refit: int | None = None,
    repeats: int = 0,
    skip_broken: bool = False,
    accept_changed_data: bool = False,
    keep: Keep | None = None,
    dir: str | Path = "runs",
    quiet: bool = False,
) -> Study:
    """Search for object detectors that are accurate and fast on a device; call it again to resume.

    It is `yoloret-nas search`: the arguments are the command's options, and either resumes what the other began. Trials
    run in processes of their own, which import nothing of the calling program.

    Args:
        budget: Finished trials in all, including earlier runs.
        data: A folder (VOC, COCO, YOLO, LabelMe, …), ``voc`` or ``coco`` (fetched), or generated ``shapes``.
        device: Where latency is measured: ``cpu``, ``cpu:threads=N``, ``cuda``, ``cuda:N``, ``ssh://host``.
        also_measure: Devices whose latency is recorded, too.
        max_latency: Slower networks are not trained: a number of milliseconds, or text such as ``"33ms"``.
        space: ``paper``, ``nano``, ``lite``, ``tiny``, or a YAML file; None for that of the named study if it has begun,
            else ``nano`` with a GPU or a board and ``tiny`` without.
        aspect: Width to height of the networks' input, as ``16:9``; None for what the space says, or else what the study has
            begun with, for a new one that of the images.
        study: Its name; None for one made of space, data and device.
        epochs: Of each trial; None for the recipe's.
        recipe: How trials train; None for ``quick`` on generated images, else ``modern``.
        batch_size: Images of a step; None for the recipe's.
        weights_dir: Folder of ImageNet weights, searched before any download.
        sampler: How the next architecture is chosen.
        seed: Of the search and of each training.
        workers: Trials at once; None for up to four per GPU, by its size, else one per core; on a cluster as many as fit.
        cluster: Trials run on a Ray cluster: ``local``, ``auto`` or ``ray://host:port``; None for this machine.
        device_host: Ray resource of the node that measures latency; None for the node of this process.
        gpus_per_trial: Share of a GPU on the cluster; None for 1 where it has GPUs.
        cpus_per_trial: Cores on the cluster; None for 2 with a GPU, else 1.
        prune: Whether a trial that cannot reach the front is stopped early (`--no-prune` is False).
        inherit: Whether trials start from the weights of others.
        one_shot: Whether weights that all networks share are trained first; trials start from them and train for an eighth
            of `epochs`. For a space of one backbone.
        prior: Earlier studies, names in `dir` or folders of others, on any data and device, from which the search learns
            before its first training; ``"built-in"`` is the one that comes with the tool, ``"none"`` is none. Empty for
            what the study began with: a new one begins with ``"built-in"``, unless with another sampler or `one_shot`.
        refit: Epochs of retraining the front at the end, 0 for none; None for 3 times a trial's, 0 on generated images.
        repeats: Retrainings with further seeds, spent on networks that cannot be told apart yet.
        skip_broken: Whether broken images and annotations are left out instead of ending the search.
        accept_changed_data: Whether to resume though images or annotations changed.
        keep: Whose weights stay: ``front`` for trials that no other one beats, or ``all``; None for ``front``, ``all`` with
            `inherit`.
        dir: Folder of the studies.
        quiet: Prints no progress.

    Returns:
        The study, with all its finished trials. Where none is complete its front is empty, and `Study.trials` has the
            reasons.

    Raises:
        YoloRetError: the data, the device or an argument is wrong, or trials keep failing; ``message`` and ``hint`` say
            more. Finished trials are kept.
        KeyboardInterrupt: it was interrupted: once, and the running trials were finished, or twice. The same call resumes.
    """
    options = SearchOptions(
        budget=budget,
        data=as_typed(data),
        device=device,
        also_measure=(also_measure,) if isinstance(also_measure, str) else also_measure,
        max_latency=None if max_latency is None else to_milliseconds(max_latency),
        space=None if space is None else str(space),
        aspect=aspect,
        study=study,
        epochs=epochs,
        recipe=recipe,
        batch_size=batch_size,
        weights_dir=None if weights_dir is None else Path(weights_dir).expanduser(),
        sampler=sampler,
        seed=seed,
        workers=workers,
        cluster=ClusterOptions(
            address=cluster,
            device_host=device_host,
            gpus_per_trial=gpus_per_trial,
            cpus_per_trial=cpus_per_trial,
        ),
        prune=prune,
        inherit=inherit,
        one_shot=one_shot,
        prior=[*map(str, (prior,) if isinstance(prior, str | Path) else prior)],
        refit=refit,
        repeats=repeats,
        skip_broken=skip_broken,
        accept_changed_data=accept_changed_data,
        keep=keep,
        dir=Path(dir).expanduser(),
    )
    console = open_console(quiet=quiet)
    with weights_from(options.weights_dir), connected_to(options.cluster):
        plan = plan_search(options)
        result = run_plan(plan, console)
        if result.ending == "interrupted":
            raise KeyboardInterrupt
        refit_plan(plan, result, console)
    return open_study(plan.settings.name, dir=plan.settings.root)
