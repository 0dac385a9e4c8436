"""Weights that stand in for ImageNet's where those cannot be had: a backbone that learnt to detect generated shapes.

    python benchmarks/stand_in_weights.py WEIGHTS_DIR [--backbone mobilenetv2_050] [--epochs 20]
    yoloret-nas transfer-curve --backbone mobilenetv2_050 --weights-dir WEIGHTS_DIR --data DATA

They show what `transfer-curve` does; what ImageNet's weights would give, they do not.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import timm
import torch

from spaces import Architecture
from spaces.networks import block_shapes, build_network
from spaces.networks.backbones import split_blocks
from trials.data import open_dataset
from trials.detections import choose_anchors
from trials.progress import ignore_progress
from trials.training.recipes import quick_recipe
from trials.training.train import train_network


def main() -> None:
    """Train, and write the backbone as timm lays it out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="mobilenetv2_050")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size", type=int, default=128)
    given = parser.parse_args()
    torch.manual_seed(0)
    dataset = open_dataset(f"shapes:train=400,val=100,size={given.size}")
    architecture = Architecture(
        backbone=given.backbone, truncation=len(block_shapes(given.backbone)), head="fpn", input_size=given.size
    )
    network = build_network(architecture, num_classes=len(dataset.class_names))
    with TemporaryDirectory() as work:
        result = train_network(
            network,
            dataset=dataset,
            anchors=choose_anchors(network, dataset.splits["train"], input_size=given.size),
            input_size=given.size,
            settings=replace(
                quick_recipe(),
                epochs=given.epochs,
                score_every=given.epochs,
                num_threads=len(os.sched_getaffinity(0)),
            ),
            report=ignore_progress,
            work_dir=Path(work),
        )
    model = timm.create_model(given.backbone, pretrained=False)
    stem, blocks = split_blocks(model)
    stem.load_state_dict(network.backbone.stem.state_dict())
    for theirs, own in zip(blocks, network.backbone.blocks, strict=True):
        theirs.load_state_dict(own.state_dict())
    given.folder.mkdir(parents=True, exist_ok=True)
    path = given.folder / f"{given.backbone}.pth"
    torch.save(model.state_dict(), path)
    print(f"AP {result.ap:.4f} on generated shapes; wrote {path}")


if __name__ == "__main__":
    main()
