from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from trials.onnx import TensorRTVersion, UnsupportedNetworkError, check_onnx


def _network(path: Path, *, operator: str = "Relu", opset: int = 13, side: object = 8, num_inputs: int = 1) -> Path:
    inputs = [helper.make_tensor_value_info(f"x{n}", TensorProto.FLOAT, [1, 3, side, 8]) for n in range(num_inputs)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(operator, ["x0"], ["y"])], "g", inputs, [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), str(path))
    return path


def test_a_file_that_a_version_takes(tmp_path: Path) -> None:
    path = _network(tmp_path / "a.onnx", operator="HardSwish", opset=14)
    assert check_onnx(path, version=TensorRTVersion(8, 4, 1)) == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"operator": "Round"}, "TensorRT 8.0.1 has no operator Round"),
        ({"opset": 17}, "is in opset 17, TensorRT 8.0.1 reads up to 13"),
        ({"side": "height"}, "has a dynamic shape"),
        ({"num_inputs": 2}, "has 2 inputs"),
    ],
)
def test_files_that_a_version_does_not_take(tmp_path: Path, network: dict[str, object], words: str) -> None:
    path = _network(tmp_path / "a.onnx", **network)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedNetworkError, match=words):
        check_onnx(path, version=TensorRTVersion(8, 0, 1))


def test_what_is_no_onnx_file(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("no")
    with pytest.raises(UnsupportedNetworkError, match="is not an ONNX file"):
        check_onnx(tmp_path / "a.onnx", version=TensorRTVersion(8, 0, 1))
