import math

import pytest
import torch

from tests.trials.detections.box_encoding import encode_boxes
from trials.detections.anchors import cell_anchors
from trials.detections.decoding import (
    BoxCoding,
    OutputError,
    anchors_tensor,
    build_grid,
    decode_boxes,
    decode_maps,
    flatten_maps,
    take_rows,
)

ANCHORS = anchors_tensor((((10.0, 20.0), (30.0, 15.0)), ((60.0, 50.0), (90.0, 120.0))))
SIZES_HW = ((3, 4), (2, 2))
CODINGS: tuple[BoxCoding, ...] = ("exponential", "bounded")
"""Those with anchors."""


def test_the_grid_lists_stride_then_row_then_column_then_anchor() -> None:
    grid = build_grid(ANCHORS, (8, 16), sizes_hw=SIZES_HW)
    expected = [
        (stride, column, row, *anchor)
        for stride, (height, width), anchors in zip((8, 16), SIZES_HW, ANCHORS.tolist(), strict=True)
        for row in range(height)
        for column in range(width)
        for anchor in anchors
    ]
    assert torch.cat((grid.strides, grid.cells, grid.anchors), dim=1).tolist() == [list(row) for row in expected]


def test_flattened_maps_keep_each_value_with_its_prediction() -> None:
    maps = [torch.randn(2, 2 * 7, *size) for size in SIZES_HW]
    flat = flatten_maps(maps, num_anchors=2)
    assert flat.shape == (2, (12 + 4) * 2, 7)
    for batch, anchor, channel, row, column in ((0, 0, 0, 0, 0), (1, 1, 6, 2, 3), (0, 1, 4, 1, 2)):
        assert (
            flat[batch, (row * 4 + column) * 2 + anchor, channel] == maps[0][batch, anchor * 7 + channel, row, column]
        )
    assert flat[1, 24 + (1 * 2 + 0) * 2 + 1, 3] == maps[1][1, 7 + 3, 1, 0]


def test_half_precision_maps_are_read_in_float32() -> None:
    assert flatten_maps([torch.zeros(1, 7, 2, 2, dtype=torch.bfloat16)], num_anchors=1).dtype == torch.float32


def test_zero_logits_decode_to_the_anchor_in_the_middle_of_the_cell() -> None:
    grid = build_grid(ANCHORS, (8, 16), sizes_hw=SIZES_HW)
    for coding in CODINGS:
        boxes = decode_boxes(torch.zeros(len(grid.cells), 4), grid, coding=coding)
        # cell (column 2, row 1) of stride 8 is centred on (20, 12)
        assert boxes[(1 * 4 + 2) * 2].tolist() == pytest.approx([15, 2, 25, 22])


def test_both_codings_agree_with_their_formulas() -> None:
    grid = take_rows(build_grid(ANCHORS, (8, 16), sizes_hw=SIZES_HW), torch.tensor([11]))  # row 1, column 1, anchor 1
    logits = torch.tensor([[0.3, -1.2, 0.7, -0.4]])
    sigmoid = [1 / (1 + math.exp(-t)) for t in logits[0].tolist()]
    expected = {
        "exponential": ((sigmoid[0] + 1) * 8, (sigmoid[1] + 1) * 8, 30 * math.exp(0.7), 15 * math.exp(-0.4)),
        "bounded": (
            (2 * sigmoid[0] - 0.5 + 1) * 8,
            (2 * sigmoid[1] - 0.5 + 1) * 8,
            30 * (2 * sigmoid[2]) ** 2,
            15 * (2 * sigmoid[3]) ** 2,
        ),
    }
    for coding in CODINGS:
        x, y, width, height = expected[coding]
        corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        assert decode_boxes(logits, grid, coding=coding)[0].tolist() == pytest.approx(corners, rel=1e-5)


@pytest.mark.parametrize("coding", CODINGS)
def test_encoding_undoes_decoding(coding: BoxCoding) -> None:
    grid = build_grid(ANCHORS, (8, 16), sizes_hw=SIZES_HW)
    logits = torch.randn(5, len(grid.cells), 4, generator=torch.Generator().manual_seed(0))
    boxes = decode_boxes(logits, grid, coding=coding)
    torch.testing.assert_close(encode_boxes(boxes, grid, coding=coding), logits, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("coding", CODINGS)
def test_extreme_logits_decode_to_finite_boxes_with_finite_gradients(coding: BoxCoding) -> None:
    grid = take_rows(build_grid(ANCHORS, (8, 16), sizes_hw=SIZES_HW), torch.tensor([0, 0]))
    logits = torch.tensor([[-200.0] * 4, [200.0] * 4], requires_grad=True)
    boxes = decode_boxes(logits, grid, coding=coding)
    assert boxes.isfinite().all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    boxes.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_decoded_maps_hold_boxes_and_scores() -> None:
    maps = [torch.zeros(2, 2 * 8, *size) for size in SIZES_HW]
    maps[1][1, 8 + 4, 0, 1] = math.log(3)  # anchor 1's objectness
    maps[1][1, 8 + 7, 0, 1] = -math.log(3)  # its last class
    found = decode_maps(maps, ANCHORS, strides=(8, 16), coding="bounded", num_classes=3)
    assert found.boxes.shape == (2, 32, 4)
    assert found.scores[1, 24 + 3].tolist() == pytest.approx([0.75 * 0.5, 0.75 * 0.5, 0.75 * 0.25])
    assert found.boxes[1, 24 + 3].tolist() == pytest.approx([24 - 45, 8 - 60, 24 + 45, 8 + 60])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_output_that_is_no_number_is_refused(value: float) -> None:
    maps = [torch.zeros(2, 2 * 8, *size) for size in SIZES_HW]
    maps[1][1, 8 + 4, 0, 1] = value
    with pytest.raises(OutputError, match="1 of 512 values in the network's outputs are NaN or infinite"):
        decode_maps(maps, ANCHORS, strides=(8, 16), coding="bounded", num_classes=3)


CELLS = anchors_tensor(cell_anchors((8, 16)))


def test_distances_are_means_of_their_distributions_in_cells() -> None:
    """Four bins a side; one holds nearly all of each distribution, but for the last side's, shared by bins 1 and 2."""
    logits = torch.full((16, 4, 4), -30.0)
    logits[6, range(3), (0, 1, 3)] = 30.0
    logits[6, 3, 1:3] = 30.0
    grid = build_grid(CELLS, (8, 16), sizes_hw=SIZES_HW)
    boxes = decode_boxes(logits.flatten(1), grid, coding="distances")
    # row 1, column 2 of stride 8 is centred on (20, 12)
    assert boxes[6].tolist() == pytest.approx([20, 12 - 8, 20 + 3 * 8, 12 + 1.5 * 8])


def test_decoded_distances_have_scores_of_their_classes_alone() -> None:
    maps = [torch.zeros(2, 4 * 4 + 3, *size) for size in SIZES_HW]
    maps[1][1, 16 + 2, 0, 1] = -math.log(3)  # the last class
    found = decode_maps(maps, CELLS, strides=(8, 16), coding="distances", num_classes=3)
    assert found.boxes.shape == (2, 16, 4)
    assert found.scores[1, 12 + 1].tolist() == pytest.approx([0.5, 0.5, 0.25])
    assert found.boxes[1, 12 + 1].tolist() == pytest.approx([24 - 24, 8 - 24, 24 + 24, 8 + 24])  # 1.5 of 3 cells


def test_extreme_distances_decode_to_finite_boxes_with_finite_gradients() -> None:
    grid = take_rows(build_grid(CELLS, (8, 16), sizes_hw=SIZES_HW), torch.tensor([0, 0]))
    first = torch.tensor([200.0, -200.0, -200.0])
    logits = torch.stack((first.repeat(4), first.flip(0).repeat(4))).requires_grad_()
    boxes = decode_boxes(logits, grid, coding="distances")
    assert boxes.isfinite().all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    boxes.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
