"""One training of Ultralytics' YOLOv8n from random weights; run by `against_yolov8n.py` in an environment that has it.

    python benchmarks/yolov8n_run.py DATA.yaml OUT.json --epochs 30 --size 320 --batch 8 --nbs 8 \
        --warmup-epochs 1 --seed 0 --threads 2

OUT.json gets the seconds of each epoch's training and of the whole run, and the detections on the validation images.
"""

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def main() -> None:
    """Train, detect, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    for name in ("epochs", "size", "batch", "nbs", "warmup-epochs", "seed", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    import torch
    from ultralytics import YOLO, settings

    settings.update({"sync": False, **{name: False for name in ("mlflow", "tensorboard", "wandb") if name in settings}})
    model = YOLO("yolov8n.yaml")
    epoch_s: list[float] = []
    began: dict[str, float] = {}
    # Its own choice leaves a core idle; both detectors are to have the same.
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(given.threads))
    model.add_callback("on_train_epoch_start", lambda _: began.update(epoch=time.perf_counter()))
    model.add_callback("on_train_epoch_end", lambda _: epoch_s.append(time.perf_counter() - began["epoch"]))
    with TemporaryDirectory() as folder:
        model.train(
            data=str(given.data),
            epochs=given.epochs,
            imgsz=given.size,
            batch=given.batch,
            nbs=given.nbs,
            warmup_epochs=given.warmup_epochs,
            seed=given.seed,
            device="cpu",
            pretrained=False,
            val=False,
            plots=False,
            verbose=False,
            project=folder,
        )
    images = sorted((given.data.parent / "images" / "val").iterdir())
    found: dict[str, Any] = {}
    for path in images:  # one by one: a batch would be padded to its own shapes
        (result,) = model.predict(str(path), imgsz=given.size, conf=0.001, iou=0.7, max_det=300, verbose=False)
        boxes = result.boxes
        found[path.name] = {
            "boxes": boxes.xyxy.tolist(),
            "scores": boxes.conf.tolist(),
            "labels": boxes.cls.int().tolist(),
        }
    params = sum(value.numel() for value in model.model.parameters())
    given.out.write_text(json.dumps({"epoch_s": epoch_s, "params": params, "found": found}))


if __name__ == "__main__":
    main()
