from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trials.onnx import TensorRTVersion, UnsupportedNetworkError, check_onnx
from trials.onnx.requirements import has_other_files, write_whole


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


@pytest.mark.parametrize("as_attribute", [False, True])
def test_weights_in_another_file_are_found_and_read(tmp_path: Path, as_attribute: bool) -> None:
    weights = numpy_helper.from_array(np.ones((1, 3, 8, 8), np.float32), "w")
    nodes = [helper.make_node("Constant", [], ["w"], value=weights)] if as_attribute else []
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"]
    graph = helper.make_graph([*nodes, helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:])
    if not as_attribute:
        graph.initializer.append(weights)
    model, path = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), tmp_path / "apart.onnx"
    options = {"location": "apart.data", "size_threshold": 0, "convert_attribute": as_attribute}
    onnx.save(model, str(path), save_as_external_data=True, **options)
    assert has_other_files(path)
    write_whole(path, tmp_path / "whole.onnx")
    assert not has_other_files(tmp_path / "whole.onnx")
    assert (tmp_path / "whole.onnx").stat().st_size > 3 * 8 * 8 * 4 > path.stat().st_size
    (tmp_path / "apart.data").unlink()
    with pytest.raises(UnsupportedNetworkError, match=r"apart\.onnx names weights in a file that cannot be read"):
        write_whole(path, tmp_path / "gone.onnx")
    assert not (tmp_path / "gone.onnx").exists()
