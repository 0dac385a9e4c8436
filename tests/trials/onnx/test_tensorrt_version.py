import pytest

from trials.onnx import TensorRTVersion, find_version


@pytest.mark.parametrize(
    ("code", "version"),
    [(8201, "8.2.1"), (8412, "8.4.12"), (8001, "8.0.1"), (100300, "10.3.0"), (100001, "10.0.1"), (110201, "11.2.1")],
)
def test_the_number_of_the_banner(code: int, version: str) -> None:
    assert str(find_version(f"[TensorRT v{code}]")) == version


@pytest.mark.parametrize(
    ("version", "opset"),
    [((7, 1, 3), 11), ((7, 2, 0), 13), ((8, 2, 1), 13), ((8, 4, 1), 17), ((10, 3, 0), 17), ((11, 2, 1), 17)],
)
def test_the_opset_of_a_version(version: tuple[int, int, int], opset: int) -> None:
    assert TensorRTVersion(*version).opset == opset
