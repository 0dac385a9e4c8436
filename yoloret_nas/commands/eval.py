"""`yoloret-nas eval`: a trained network's accuracy on a dataset."""

import json
from pathlib import Path

import click


@click.command("eval")
@click.argument("source", metavar="NETWORK")
@click.option("--data", required=True, help="Dataset: a VOC, COCO or YOLO folder, or generated shapes.")
@click.option("--split", type=click.Choice(("train", "val", "test")), default="val", help="Which images.")
@click.option("--batch-size", type=click.IntRange(1), default=16, help="Images at once.")
@click.option("--skip-broken", is_flag=True, help="Leave broken images and annotations out instead of stopping.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--dir", "root", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of the studies.")
def eval(source: str, data: str, split: str, batch_size: int, skip_broken: bool, as_json: bool, root: Path) -> None:
    """Score NETWORK, which is STUDY:TRIAL, STUDY or an export's folder, on a split of a dataset by COCO's AP."""
    import torch

    from trials.checkpoint import read_checkpoint
    from trials.network_scoring import score_network
    from trials.open_dataset import open_dataset
    from trials.trained_network import check_classes, load_trained
    from yoloret_nas.sources import find_source

    found = find_source(source, root=root)
    checkpoint = read_checkpoint(found.checkpoint)
    dataset = open_dataset(data, on_broken="skip" if skip_broken else "stop")
    if split not in dataset.splits:
        raise click.BadParameter(
            f"{dataset.name} has no split {split!r}, only {', '.join(dataset.splits)}", param_hint="--split"
        )
    check_classes(checkpoint, dataset, name=found.label)
    network = load_trained(found.architecture, checkpoint).to("cuda" if torch.cuda.is_available() else "cpu")
    samples = dataset.splits[split]
    scores = score_network(network, samples, decoding=checkpoint.decoding, batch_size=batch_size)
    if as_json:
        figures = {"ap": scores.ap, "ap50": scores.ap50, "per_class_ap": dict(scores.per_class_ap)}
        click.echo(json.dumps({"network": found.label, "data": data, "split": split, **figures}, indent=1))
        return
    click.echo(f"{found.label} on {len(samples)} images of {dataset.name}/{split}")
    for name, ap in scores.per_class_ap.items():
        click.echo(f"  {name}: AP {ap:.4f}")
    click.echo(f"AP {scores.ap:.4f}, AP50 {scores.ap50:.4f}")
