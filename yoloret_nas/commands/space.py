"""`yoloret-nas space`: show a space."""

import click


@click.command()
@click.argument("name", metavar="NAME|FILE.yaml", default="tiny")
@click.option("--yaml", "as_yaml", is_flag=True, help="Print it as a file to begin your own space from.")
@click.option("--sample", type=click.IntRange(0), default=0, help="Draw some architectures, with their MACs.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the draw.")
def space(name: str, as_yaml: bool, sample: int, seed: int) -> None:
    """Show a space: its axes, its size, what it excludes and why."""
    import random

    from rich.console import Console
    from rich.table import Table

    from spaces.named_spaces import open_space
    from spaces.networks import BACKBONES
    from spaces.presets import PRESETS, presets_in
    from spaces.space import AXES
    from spaces.space_file import to_yaml
    from yoloret_nas.terminal.trial_lines import short

    opened = open_space(name)
    if as_yaml:
        click.echo(to_yaml(opened), nl=False)
        return
    console = Console(highlight=False)
    console.print(f"{opened.name}: {opened.description}", markup=False)
    console.print(f"{opened.size:,} architectures\n", markup=False)
    table = Table("axis", "values", box=None, pad_edge=False)
    for backbone, choice in opened.backbones.items():
        blocks = ", ".join(map(str, choice.truncation))
        transfers = "" if choice.transfer == (0,) else f"; ImageNet weights up to block {_boundaries(choice.transfer)}"
        table.add_row("backbone", f"{backbone} ({BACKBONES[backbone]}) cut at block {blocks}{transfers}")
    for axis in AXES[3:]:
        table.add_row(axis, ", ".join(map(str, opened.values(axis))))
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
        console.print(f"  {drawn.key}  {_mega_macs(drawn):>8.1f} M MACs  {short(drawn)}", markup=False, soft_wrap=True)


def _boundaries(transfer: tuple[int, ...]) -> str:
    from spaces.named_spaces import WHOLE_BACKBONE

    return ", ".join("the cut" if boundary == WHOLE_BACKBONE else str(boundary) for boundary in transfer)


def _mega_macs(architecture: "object") -> float:
    import torch

    from spaces import Architecture
    from spaces.networks import build_network, count_macs

    assert isinstance(architecture, Architecture)
    with torch.device("meta"):
        return count_macs(build_network(architecture, num_classes=20), input_size=architecture.input_size) / 1e6
