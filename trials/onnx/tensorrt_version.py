"""Versions of TensorRT, with the operator sets and operators that each reads.

Source: the support matrices of TensorRT's ONNX parser (onnx-tensorrt, docs/operators.md and docs/Changelog.md) and its
release notes.
"""

import re
from typing import NamedTuple


class TensorRTVersion(NamedTuple):
    """A version, ordered by its numbers."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return ".".join(map(str, self))

    @property
    def opset(self) -> int:
        """The ONNX operator set of files for this version: at most 17, so that all from 8.4 on share one file."""
        return min(self.highest_opset, 17)

    @property
    def highest_opset(self) -> int:
        """The newest ONNX operator set it reads."""
        return next((opset for bound, opset in _OPSETS if self < bound), 20)

    def lacks(self, operator: str) -> bool:
        """Return whether this version lacks an operator; operators unknown here are left to TensorRT."""
        return operator in _FIRST_IN and self < _FIRST_IN[operator]


_OPSETS = (
    (TensorRTVersion(7, 2), 11),
    (TensorRTVersion(8, 4), 13),
    (TensorRTVersion(10, 0), 17),
)
"""First version that reads more, and the operator set that those before it read."""

_FIRST_IN = {
    operator: TensorRTVersion(major, minor)
    for (major, minor), operators in {
        (8, 0): "Celu CumSum EyeLike GatherElements GreaterOrEqual LessOrEqual LpNormalization LpPool "
        "NonMaxSuppression ReverseSequence",
        (8, 2): "Einsum GatherND IsNaN Round Scatter ScatterElements ScatterND Sign",
        (8, 4): "HardSwish Shrink Xor",
        (8, 5): "GridSample MeanVarianceNormalization Mod NonZero OneHot RandomNormal RoiAlign Trilu",
        (8, 6): "GroupNormalization IsInf LayerNormalization",
        (10, 0): "Hardmax",
        (10, 1): "DeformConv Mish",
        (10, 4): "BlackmanWindow HammingWindow HannWindow",
        (10, 5): "STFT",
    }.items()
    for operator in operators.split()
}


def find_version(text: str) -> TensorRTVersion | None:
    """Find a version in a banner (``[TensorRT v8201]``), a package version or the name of libnvinfer."""
    if banner := re.search(r"\[TensorRT v(\d{4,9})\]", text):
        code = int(banner[1])  # 8201 is 8.2.1, 8412 is 8.4.12, 100300 is 10.3.0
        major, rest = divmod(code, 1000 if code < 10_000 else 10_000)
        return TensorRTVersion(major, *divmod(rest, 100))
    if spelled := re.search(r"(?<![\d.])(\d{1,4})\.(\d{1,4})\.(\d{1,4})", text):
        return TensorRTVersion(int(spelled[1]), int(spelled[2]), int(spelled[3]))
    return None
