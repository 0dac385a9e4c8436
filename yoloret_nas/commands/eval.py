"""`yoloret-nas eval`: a trained network's accuracy on a dataset."""

import json
from pathlib import Path

import click

from spaces.counted import counted
from yoloret_nas.options.complete import complete_network, complete_path
from yoloret_nas.options.data import DATA_HELP
from yoloret_nas.options.networks import TRAINED_FORMS, explains
from yoloret_nas.options.paths import UserPath


@explains(f"NETWORK is {TRAINED_FORMS}. An export's file is run as run.py runs it, all else as PyTorch does.")
@click.command("eval")
@click.argument("source", metavar="NETWORK", shell_complete=complete_network)
@click.option("--data", required=True, shell_complete=complete_path, help=DATA_HELP)
@click.option("--split", type=click.Choice(("train", "val", "test")), default="val", help="Split to score.")
@click.option("--batch-size", type=click.IntRange(1), default=16, help="Images at once.")
@click.option("--skip-broken", is_flag=True, help="Leave broken images and annotations out instead of stopping.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--dir", "root", type=UserPath(), default=Path("runs"), help="Folder of the studies.")
def eval(source: str, data: str, split: str, batch_size: int, skip_broken: bool, as_json: bool, root: Path) -> None:
    """Score NETWORK on a split of a dataset by COCO's AP."""
    from yoloret_nas.scoring import score_source
    from yoloret_nas.sources import find_source

    found = find_source(source, root=root)
    scores, num_images = score_source(
        found,
        data=data,
        split=split,
        notice=lambda note: click.echo(f"note: {note}", err=True),
        batch_size=batch_size,
        skip_broken=skip_broken,
    )
    if as_json:
        by_group = {"per_class_ap": dict(scores.per_class_ap), "per_size_ap": dict(scores.per_size_ap)}
        figures = {"num_images": num_images, "ap": scores.ap, "ap50": scores.ap50, **by_group}
        click.echo(json.dumps({"network": found.label, "data": data, "split": split, **figures}, indent=1))
        return
    for name, ap in scores.per_class_ap.items():
        click.echo(f"  {name}: AP {ap:.4f}")
    by_size = ", ".join(f"{size} {ap:.4f}" for size, ap in scores.per_size_ap.items())
    click.echo(f"AP by COCO's sizes of objects (limits 32² and 96² pixels of the image): {by_size}")
    images = counted(num_images, "image(s)")
    click.echo(f"{found.label} on {data}, {split} ({images}): AP {scores.ap:.4f}, AP50 {scores.ap50:.4f}")
