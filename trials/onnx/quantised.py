"""Post-training quantisation of an exported detector to INT8, by ONNX Runtime's quantiser.

Weights and activations of the network become INT8 with a scale, as pairs of QuantizeLinear and DequantizeLinear nodes, which
ONNX Runtime and TensorRT turn into INT8 kernels. Normalisation and decoding stay in float32.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from trials.data import Sample
from trials.data.images.letterbox import letterbox
from trials.onnx.requirements import opset_of
from trials.scratch import temporary_folder
from trials.whole_file import whole_file

_QUANTISED = ("Conv", "MaxPool", "Concat", "Resize")
"""Operators whose inputs are quantised. With the quantiser's own list RFCR's weights are quantised alone, which TensorRT's
builder refuses ("Quantized constant is only allowed before DQ")."""
MIN_OPSET = 13
"""Scales of single channels came with it."""


def quantise(source: Path, target: Path, samples: Sequence[Sample], *, input_hw: tuple[int, int]) -> None:
    """Write an INT8 file.

    Args:
        source: A file of `export_decoded` in float32, of opset 13 or later.
        target: The file to write.
        samples: Images to calibrate with, of the training split.
        input_hw: Height and width of the detector's input, pixels.

    Raises:
        ValueError: the opset is too old, or there is no image.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if not samples:
        raise ValueError("quantisation needs at least one image")
    model = onnx.load(str(source))
    if (opset := opset_of(model)) < MIN_OPSET:
        raise ValueError(f"{source.name} has opset {opset}; INT8 needs {MIN_OPSET} or later")

    class Images(CalibrationDataReader):  # type: ignore[misc]
        """Gives the quantiser one image after the other."""

        def __init__(self) -> None:
            self._images = _read(samples, input_hw)

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            image = next(self._images, None)
            return None if image is None else {"images": image}

    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it warns through the root logger that the file was not optimised
    try:
        with temporary_folder() as folder, whole_file(target) as partial:
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(str(source), str(prepared))
            outside = [node.name for node in onnx.load(str(prepared)).graph.node if not _is_network(node)]
            quantize_static(
                str(prepared),
                str(partial),
                Images(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(_QUANTISED),
                nodes_to_exclude=outside,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
            )
            quantised = onnx.load(str(partial))
            onnx.helper.set_model_props(quantised, {entry.key: entry.value for entry in model.metadata_props})
            used = {node.domain for node in quantised.graph.node}
            kept = [entry for entry in quantised.opset_import if entry.domain in used]
            del quantised.opset_import[:]  # ONNX Runtime 1.10, the last for Python 3.6, refuses the quantiser's own
            quantised.opset_import.extend(kept)
            onnx.save(quantised, str(partial))
    finally:
        logging.root.setLevel(level)


def _is_network(node: onnx.NodeProto) -> bool:
    """Return whether a node belongs to the network; the others normalise and decode."""
    return "/network/" in node.name


def _read(samples: Sequence[Sample], input_hw: tuple[int, int]) -> Iterator[npt.NDArray[np.float32]]:
    for sample in samples:
        boxed, _ = letterbox(sample.load(), input_hw)
        yield np.ascontiguousarray(boxed.transpose(2, 0, 1)[None], dtype=np.float32)
