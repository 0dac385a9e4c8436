"""Decoding of a network's raw maps into boxes and scores.

Legend: B batch, S output strides, A anchors a cell, K classes, H W grid of one stride, P predictions of an image (the
sum of H·W·A over strides, ordered by stride fine to coarse, then row, column, anchor), V values of a prediction, N bins of
a distance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from spaces import YoloRetError
from trials.detections.anchors import Anchors

BoxCoding = Literal["exponential", "bounded", "distances"]
"""How a prediction's values encode a box.

``exponential`` (YOLOv3): centre = (σ(t) + cell)·stride, size = anchor·exp(t).
``bounded`` (YOLOv5): centre = (2σ(t) − 0.5 + cell)·stride, so that neighbouring cells reach it; size = anchor·(2σ(t))².
``distances`` (Generalized Focal Loss, YOLOv8): from the cell's centre to the left, upper, right and lower side, each the
mean of a distribution over 0, 1, … N − 1 cells that N logits describe; a cell is one prediction, its anchor the cell itself.

With anchors a prediction has V = 5 + K values: four of the box, objectness, classes. With distances V = 4·N + K: there is no
objectness.
"""

_MAX_EXPONENT = 6.0  # exp(6) = 403 anchors wide: wider than any image, without overflow in float32
_MIN_SIZE_PX = 1e-3  # keeps width / height finite in CIoU where a sigmoid underflows


class OutputError(YoloRetError):
    """A network's outputs are NaN or infinite, so they are neither boxes nor scores."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How a network's raw maps are decoded; it is saved with the weights."""

    anchors: Anchors
    """For each output stride, pixels at `input_hw`; with ``distances`` the cells."""
    coding: BoxCoding
    """The box coding the network was trained with."""
    class_names: tuple[str, ...]
    """Class names, by label."""
    input_hw: tuple[int, int]
    """Height and width of the network's input, pixels."""


@dataclass(frozen=True, kw_only=True)
class PredictionGrid:
    """Cell, anchor and stride of each of an image's P predictions."""

    cells: Tensor
    """(P, 2) float32, column and row of the cell."""
    anchors: Tensor
    """(P, 2) float32, width and height in pixels."""
    strides: Tensor
    """(P, 1) float32, pixels of a cell."""
    sizes_hw: tuple[tuple[int, int], ...]
    """Height and width in cells of each stride's map, fine to coarse."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The decoded predictions of a batch."""

    boxes: Tensor
    """(B, P, 4) float32 xyxy, pixels of the network's input; may extend outside the image."""
    scores: Tensor
    """(B, P, K) float32, 0 to 1, each class independently; with anchors, objectness times class score."""


def decode_boxes(logits: Tensor, grid: PredictionGrid, *, coding: BoxCoding) -> Tensor:
    """Decode box logits.

    Args:
        logits: (..., P, 4) float32, one row for each of the grid's; (..., P, 4·N) for distances.
        grid: P rows.
        coding: The one the network was trained with.

    Returns:
        (..., P, 4) float32 xyxy in pixels of the network's input, at least a thousandth of a pixel wide and high.
    """
    if coding == "distances":
        centres, sides = cell_centres(grid), mean_distances(logits) * grid.strides
        return torch.cat((centres - sides[..., :2], centres + sides[..., 2:].clamp(min=_MIN_SIZE_PX)), dim=-1)
    centre_of, scale_of = _DECODERS[coding]
    centres = (centre_of(logits[..., :2]) + grid.cells) * grid.strides
    half_sizes = (scale_of(logits[..., 2:4]) * grid.anchors).clamp(min=_MIN_SIZE_PX) / 2
    return torch.cat((centres - half_sizes, centres + half_sizes), dim=-1)  # (..., P, 4)


def decode_maps(
    raw_maps: Sequence[Tensor], anchors: Tensor, *, strides: Sequence[int], coding: BoxCoding, num_classes: int
) -> Predictions:
    """Decode the raw maps of a batch into boxes and scores.

    Args:
        raw_maps: One (B, A·V, H, W) of logits for each stride, fine to coarse.
        anchors: (S, A, 2) float32 pixels.
        strides: Output strides in pixels, fine to coarse.
        coding: The one the network was trained with.
        num_classes: K.

    Raises:
        OutputError: A value is NaN or infinite. NaN is the largest value to `topk`, so it would become the best detection.
    """
    logits = flatten_maps(raw_maps, num_anchors=anchors.shape[1])  # (B, P, V)
    if num_bad := logits.numel() - int(logits.isfinite().sum()):
        raise OutputError(
            f"{num_bad} of {logits.numel()} values in the network's outputs are NaN or infinite",
            hint="its weights have diverged: train it with a lower learning rate",
        )
    grid = build_grid(anchors, strides, sizes_hw=tuple((one.shape[2], one.shape[3]) for one in raw_maps))
    box, scores = split_values(logits, coding=coding, num_classes=num_classes)
    return Predictions(boxes=decode_boxes(box, grid, coding=coding), scores=scores)


def split_values(logits: Tensor, *, coding: BoxCoding, num_classes: int) -> tuple[Tensor, Tensor]:
    """Split predictions into the logits of their boxes, for `decode_boxes`, and their scores of the classes.

    Args:
        logits: (..., P, V).
        coding: The one the network was trained with.
        num_classes: K.
    """
    classes = logits[..., -num_classes:].sigmoid()
    if coding == "distances":
        return logits[..., :-num_classes], classes
    return logits[..., :4], logits[..., 4:5].sigmoid() * classes


def mean_distances(logits: Tensor) -> Tensor:
    """Return the mean of each side's distribution.

    Args:
        logits: (..., 4·N), the N bins of a side beside each other.

    Returns:
        (..., 4) in cells, 0 to N − 1.
    """
    shares = side_logits(logits).softmax(dim=-1)
    cells = torch.arange(int(shares.shape[-1]), device=logits.device, dtype=logits.dtype)
    return (shares * cells).sum(dim=-1)


def side_logits(logits: Tensor) -> Tensor:
    """Arrange (..., 4·N) logits as (..., 4, N), without reading sizes, which would be operators in an ONNX file."""
    return torch.stack(logits.chunk(4, dim=-1), dim=-2)


def cell_centres(grid: PredictionGrid) -> Tensor:
    """Return the centre of each prediction's cell, (P, 2) in pixels."""
    return (grid.cells + 0.5) * grid.strides


def flatten_maps(raw_maps: Sequence[Tensor], *, num_anchors: int) -> Tensor:
    """Concatenate the predictions of all strides.

    Args:
        raw_maps: One (B, A·V, H, W) for each stride, any float type.
        num_anchors: A.

    Returns:
        (B, P, V) float32; loss and decoding never run in half precision.
    """
    rows = []
    for raw_map in raw_maps:
        batch, channels = raw_map.shape[:2]
        rows.append(raw_map.permute(0, 2, 3, 1).reshape(batch, -1, channels // num_anchors))  # (B, H·W·A, V)
    return torch.cat(rows, dim=1).float()


def build_grid(anchors: Tensor, strides: Sequence[int], *, sizes_hw: tuple[tuple[int, int], ...]) -> PredictionGrid:
    """Build the grid of an image's P predictions.

    Args:
        anchors: (S, A, 2) float32 pixels; the grid is on the same device.
        strides: S output strides in pixels.
        sizes_hw: Height and width in cells of each stride's map.
    """
    num_anchors, device = anchors.shape[1], anchors.device
    cells, sizes, pixels = [], [], []
    for stride_anchors, stride, (height, width) in zip(anchors, strides, sizes_hw, strict=True):
        rows, columns = torch.meshgrid(
            torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
        )
        cell = torch.stack((columns, rows), dim=-1).view(-1, 1, 2).expand(-1, num_anchors, 2)  # (H·W, A, 2)
        cells.append(cell.reshape(-1, 2).float())
        sizes.append(stride_anchors.repeat(height * width, 1))
        pixels.append(torch.full((height * width * num_anchors, 1), float(stride), device=device))
    return PredictionGrid(
        cells=torch.cat(cells), anchors=torch.cat(sizes), strides=torch.cat(pixels), sizes_hw=sizes_hw
    )


def take_rows(grid: PredictionGrid, rows: Tensor) -> PredictionGrid:
    """Select rows of a grid by (N,) int64 indices into P."""
    return PredictionGrid(
        cells=grid.cells[rows], anchors=grid.anchors[rows], strides=grid.strides[rows], sizes_hw=grid.sizes_hw
    )


def anchors_tensor(anchors: Anchors) -> Tensor:
    """Return anchors as (S, A, 2) float32 pixels."""
    return torch.tensor(anchors, dtype=torch.float32)


# from logits to the centre in cells of its own cell, and to the size in anchors
_DECODERS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "exponential": (torch.sigmoid, lambda t: t.clamp(max=_MAX_EXPONENT).exp()),
    "bounded": (lambda t: 2 * t.sigmoid() - 0.5, lambda t: (2 * t.sigmoid()) ** 2),
}
