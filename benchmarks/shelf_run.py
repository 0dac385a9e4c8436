"""What `against_the_shelf.py` runs in an environment that has Ultralytics: one training, or the two ONNX files of a network.

    python benchmarks/shelf_run.py train yolov8n DATA.yaml OUT.json --epochs 30 --height 256 --width 320 --batch 8 --nbs 8 \
        --warmup-epochs 1 --seed 0
    python benchmarks/shelf_run.py export yolov8n FOLDER --height 256 --width 320 --classes 3

A training is from random weights, on one thread, its images cached decoded, on squares of the longer side, since that is how
Ultralytics trains. OUT.json gets the CPU seconds of each epoch's training and the detections in the validation and the test
images, in an input of the height and width that are exported. FOLDER gets raw.onnx,
which ends at the maps, and boxes.onnx, which ends at boxes and scores.
"""

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def main() -> None:
    """Train or export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    training, exporting = verbs.add_parser("train"), verbs.add_parser("export")
    for one in (training, exporting):
        one.add_argument("network")
    training.add_argument("data", type=Path)
    training.add_argument("out", type=Path)
    for name in ("epochs", "height", "width", "batch", "nbs", "warmup-epochs", "seed"):
        training.add_argument(f"--{name}", type=int, required=True)
    exporting.add_argument("folder", type=Path)
    for name in ("height", "width"):
        exporting.add_argument(f"--{name}", type=int, required=True)
    exporting.add_argument("--classes", type=int, required=True)
    given = parser.parse_args()
    train(given) if given.verb == "train" else export(given)


def train(given: argparse.Namespace) -> None:
    """Train, detect, write."""
    import torch
    from ultralytics import YOLO, settings

    settings.update({"sync": False, **{name: False for name in ("mlflow", "tensorboard", "wandb") if name in settings}})
    model = YOLO(f"{given.network}.yaml")
    epoch_s: list[float] = []
    began: dict[str, float] = {}
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(1))
    model.add_callback("on_train_epoch_start", lambda _: began.update(epoch=time.process_time()))
    model.add_callback("on_train_epoch_end", lambda _: epoch_s.append(time.process_time() - began["epoch"]))
    with TemporaryDirectory() as folder:
        model.train(
            data=str(given.data),
            epochs=given.epochs,
            imgsz=max(given.height, given.width),
            batch=given.batch,
            nbs=given.nbs,
            warmup_epochs=given.warmup_epochs,
            seed=given.seed,
            device="cpu",
            workers=0,
            cache="ram",
            pretrained=False,
            val=False,
            plots=False,
            verbose=False,
            project=folder,
        )
    splits = [folder for name in ("val", "test") if (folder := given.data.parent / "images" / name).is_dir()]
    found = {folder.name: detect(model, folder, (given.height, given.width)) for folder in splits}
    given.out.write_text(json.dumps({"epoch_s": epoch_s, "found": found}))


def detect(model: Any, folder: Path, input_hw: tuple[int, int]) -> list[dict[str, Any]]:
    """Return the detections in each image of a folder, in the order of their names."""
    found = list[dict[str, Any]]()
    options = {"imgsz": list(input_hw), "conf": 0.001, "iou": 0.7, "max_det": 300, "verbose": False}
    for path in sorted(folder.iterdir()):
        # One by one, and not cut to the image's own shape, which is not what is timed.
        (result,) = model.predict(str(path), rect=False, **options)
        boxes = result.boxes
        found.append({"boxes": boxes.xyxy.tolist(), "scores": boxes.conf.tolist(), "labels": boxes.cls.int().tolist()})
    return found


def export(given: argparse.Namespace) -> None:
    """Write both files of a network with random weights, its batch norms folded."""
    import torch
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel(f"{given.network}.yaml", nc=given.classes, verbose=False).eval().fuse(verbose=False)
    head = model.model[-1]
    images = torch.zeros(1, 3, given.height, given.width)
    given.folder.mkdir(parents=True, exist_ok=True)
    head.export, head.format = True, "onnx"
    for name, is_raw in (("boxes", False), ("raw", True)):
        head.training = is_raw  # the head alone: it then returns its maps
        torch.onnx.export(
            model,
            (images,),
            str(given.folder / f"{name}.onnx"),
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            opset_version=13,
        )


if __name__ == "__main__":
    main()
