"""The detector as MLflow loads it: MLflow copies this file into the model and runs it there, without this project.

Images in, a table of boxes out; the export's own ``run.py`` does the work.
"""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

COLUMNS = ("image", "x1", "y1", "x2", "y2", "score", "class")


class ServedDetector(PythonModel):
    """Detects in a batch of images, (N, H, W, 3) uint8 RGB."""

    def load_context(self, context: Any) -> None:
        """Load the export."""
        folder = Path(context.artifacts["export"])
        spec = importlib.util.spec_from_file_location("yoloret_run", folder / "run.py")
        assert spec is not None
        assert spec.loader is not None
        run = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(run)
        # A server answers several requests at once. ONNX Runtime can; an engine in the export has one set of buffers.
        self._detector = run.Detector(str(folder), "onnxruntime")

    # Without a type hint MLflow warns, past every filter; of a plain array it infers no schema, which is given.
    def predict(
        self,
        context: Any,
        model_input: np.ndarray,  # in no other form, which MLflow would not know
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return a row for each box: the image's place in the batch, corners in its pixels, score, class.

        Args:
            context: Not used.
            model_input: The images.
            params: ``score_threshold`` and ``nms_iou``, where they are not the runner's.
        """
        images = np.asarray(model_input, dtype=np.uint8)
        if images.ndim != 4 or (images.size == 0 and len(images)):
            raise ValueError(
                f"images of shape {images.shape}, not (N, H, W, 3): a single image is a batch as image[None]"
            )
        rows = [row for place, image in enumerate(images) for row in self._rows(place, image, params or {})]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _rows(self, place: int, image: Any, params: dict[str, Any]) -> Iterable[tuple[Any, ...]]:
        boxes, scores, labels = self._detector.detect(image, **params)
        for box, score, label in zip(boxes.tolist(), scores.tolist(), labels.tolist(), strict=True):
            yield (place, *box, score, self._detector.class_names[label])


set_model(ServedDetector())
