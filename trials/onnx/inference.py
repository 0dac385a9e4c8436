"""A detector from an ONNX file, run by ONNX Runtime: takes images, returns boxes."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from trials.data.letterbox import letterbox, normalise
from trials.detections import Decoding, Detections, DetectionSettings, select_detections
from trials.detections.decoding import anchors_tensor, decode_maps
from trials.detections.nms import unletterbox_detections


class OnnxDetector:
    """Detects objects in one image at a time.

    Args:
        path: The ONNX file, whose outputs are raw maps.
        decoding: How the maps encode boxes.
        strides: Strides of the maps in pixels, fine to coarse.
        settings: Which detections are kept.
    """

    def __init__(
        self, path: Path, decoding: Decoding, *, strides: tuple[int, ...], settings: DetectionSettings
    ) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._decoding = decoding
        self._strides = strides
        self._settings = settings

    def detect(self, image: npt.NDArray[np.uint8]) -> Detections:
        """Detect the objects in an image.

        Args:
            image: (H, W, 3) uint8 RGB of any size.

        Returns:
            Boxes in pixels of that image, highest score first.
        """
        square, place = letterbox(image, self._decoding.input_size)
        images = normalise(torch.from_numpy(square).permute(2, 0, 1)[None])  # (1, 3, S, S)
        maps = [torch.from_numpy(raw) for raw in self._session.run(None, {"images": images.numpy()})]
        anchors = anchors_tensor(self._decoding.anchors)
        predictions = decode_maps(maps, anchors, strides=self._strides, coding=self._decoding.coding)
        found = select_detections(predictions, self._settings)[0]
        return unletterbox_detections(found, place, size_hw=(image.shape[0], image.shape[1]))
