"""Networks as ONNX files: export, FP16 conversion, and a detector that runs a file in ONNX Runtime.

Also which TensorRT version can take a file: its operator set, operators and input shape.
"""

from trials.onnx.requirements import UnsupportedNetworkError, check_onnx
from trials.onnx.tensorrt_version import TensorRTVersion, find_version

__all__ = ["TensorRTVersion", "UnsupportedNetworkError", "check_onnx", "find_version"]
