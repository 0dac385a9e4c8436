"""`yoloret-nas space`: show a space, or ask whether a TensorRT takes its networks."""

from typing import TYPE_CHECKING

import click

from spaces.counted import counted
from yoloret_nas.options.complete import complete_path

if TYPE_CHECKING:
    from rich.console import Console

    from spaces.space import Space


@click.command()
@click.argument("name", metavar="NAME|FILE.yaml", default="tiny", shell_complete=complete_path)
@click.option("--yaml", "as_yaml", is_flag=True, help="Print it as a file to begin your own space from.")
@click.option("--sample", type=click.IntRange(0), default=0, help="Draw some architectures, with their MACs.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the draw.")
@click.option(
    "--check",
    "judge",
    metavar="[tensorrt|VERSION|DEVICE]",
    help="Ask a TensorRT about its networks: the one installed here, a version such as 8.2, or a device's.",
)
def space(name: str, as_yaml: bool, sample: int, seed: int, judge: str | None) -> None:
    """Show a space: its axes, its size, what it excludes and why.

    With --check, a few networks that together have every choice of the space are exported, and TensorRT is asked whether it
    takes them; none is run. This works without a GPU and without a board.
    """
    import random

    from rich.console import Console
    from rich.table import Table

    from spaces.named_spaces import open_space
    from spaces.networks import BACKBONES
    from spaces.presets import PRESETS, presets_in
    from spaces.space import AXES
    from spaces.space_file import to_yaml

    opened = open_space(name)
    if as_yaml:
        click.echo(to_yaml(opened), nl=False)
        return
    console = Console(highlight=False)
    if judge is not None:
        _check(opened, judge, console)
        return
    console.print(f"{opened.name}: {opened.description}", markup=False)
    console.print(f"{counted(opened.size, 'architecture(s)')}\n", markup=False)
    table = Table("axis", "values", box=None, pad_edge=False)
    for backbone, choice in opened.backbones.items():
        blocks = ", ".join(map(str, choice.truncation))
        transfers = "" if choice.transfer == (0,) else f"; ImageNet weights up to block {_boundaries(choice.transfer)}"
        table.add_row("backbone", f"{backbone} ({BACKBONES[backbone]}) cut at block {blocks}{transfers}")
    for axis in AXES[3:]:
        is_open = axis == "aspect" and axis not in opened.axes
        table.add_row(axis, "that of the images" if is_open else ", ".join(map(str, opened.values(axis))))
    console.print(table)
    if opened.exclusions:
        console.print("\nexcluded combinations of backbone, truncation, outputs, scale set and shortcut:")
        for reason, count in opened.exclusions.most_common():
            console.print(f"  {count:>4} × {reason}", markup=False, soft_wrap=True)
    inside = presets_in(opened)
    console.print(f"\npresets inside, tried first: {', '.join(inside) or 'none of ' + ', '.join(PRESETS)}")
    rng = random.Random(seed)
    for _ in range(sample):
        drawn = opened.sample(rng)
        console.print(f"  {drawn.key}  {_mega_macs(drawn):>8.1f} M MACs  {drawn.short}", markup=False, soft_wrap=True)


def _check(space: "Space", judge_spec: str, console: "Console") -> None:
    """Print what a judge refuses; exit with 1 if that is anything."""
    from rich.progress import Progress

    from trials.latency.compatibility import judge_space, open_judge

    judge = open_judge(judge_spec)
    if judge is None:
        raise click.BadParameter(
            f"{judge_spec} runs networks in ONNX Runtime, which takes them all", param_hint="--check"
        )
    console.print(f"{space.name}: asking {judge}", markup=False, soft_wrap=True)
    if judge.installed is None and not judge_spec.startswith("ssh://"):  # of a board only its version counts
        console.print('to ask NVIDIA\'s own parser too: pip install "yoloret-nas[rtx]"', markup=False, soft_wrap=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("networks")
        report = judge_space(
            space,
            judge,
            num_classes=20,
            on_judged=lambda done, whole: progress.update(task, completed=done, total=whole),
        )
    for architecture, reason in report.refused:
        console.print(f"refused  {architecture.short}: {reason}", markup=False, soft_wrap=True)
    num_networks = len(report.taken) + len(report.refused)
    if report.refused:
        which = f", those with {' or '.join(report.culprits)}" if report.culprits else ""
        console.print(
            f"{len(report.refused)} of {counted(num_networks, 'network(s) is|are')} refused{which}",
            markup=False,
            soft_wrap=True,
        )
        raise click.exceptions.Exit(1)
    console.print(
        f"{counted(num_networks, 'network(s)')} taken, none refused; together they have every choice of the space, "
        "each backbone at its deepest cut",
        soft_wrap=True,
    )


def _boundaries(transfer: tuple[int, ...]) -> str:
    from spaces.named_spaces import WHOLE_BACKBONE

    return ", ".join("the cut" if boundary == WHOLE_BACKBONE else str(boundary) for boundary in transfer)


def _mega_macs(architecture: "object") -> float:
    import torch

    from spaces import Architecture
    from spaces.networks import build_network, count_macs

    assert isinstance(architecture, Architecture)
    with torch.device("meta"):
        return count_macs(build_network(architecture, num_classes=20), input_hw=architecture.input_hw) / 1e6
