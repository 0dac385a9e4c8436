"""Fits anchor sizes to a dataset.

Legend: N boxes, A anchors per output stride, L output strides, K = A * L anchors in all.

k-means on (width, height) from several starts, where the distance is 1 - IoU of boxes with a common corner; then random
mutations that are kept if they raise the mean best IoU. Source: Redmon and Farhadi, YOLO9000, section 2 ("Dimension
Clusters"); the refinement follows ultralytics' ``autoanchor`` (here it maximises the mean best IoU).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import nn

from spaces.networks.heads import NUM_ANCHORS
from trials.data import Sample
from trials.data.augmentation import SMALLEST_SIDE_PX
from trials.data.images.letterbox import fit_letterbox

Anchors = tuple[tuple[tuple[float, float], ...], ...]
"""For each output stride, fine to coarse, its (width, height) pairs in pixels, by area."""

_Sizes = npt.NDArray[np.float64]  # (N, 2) width, height, pixels

_STOCK_416 = np.array(
    [(10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326)], dtype=np.float64
)
"""YOLOv3's anchors for COCO at 416 px, by area."""
_STOCK_SIZE = 416
_MAX_BOXES = 4000  # more move the anchors by less than a pixel
_SAME_IOU = 0.99  # boxes that overlap by more count as one size: what differs is rounding
_NUM_STARTS = 8
_NUM_ROUNDS = 50
_NUM_MUTATIONS = 400
_MUTATION = 0.1  # standard deviation, of a side


def fit_anchors(
    samples: Sequence[Sample],
    *,
    input_hw: tuple[int, int],
    output_strides: Sequence[int],
    num_anchors: int = NUM_ANCHORS,
    seed: int = 0,
) -> Anchors:
    """Fit anchors to a training split; the smallest belong to the finest stride.

    With fewer distinct box sizes than anchors (an IoU above 0.99 is one size), YOLOv3's stock anchors are used, scaled to
    the boxes' mean size, or to the input size if there are no boxes.

    Args:
        samples: The training split; ignored boxes and those under 2 px in the letterboxed image are not used.
        input_hw: Height and width of the network's input, pixels.
        output_strides: L strides, fine to coarse.
        num_anchors: A.
        seed: Of the starts and mutations.

    Returns:
        L tuples of A (width, height) pairs in pixels of the letterboxed image, sorted by area.
    """
    count = num_anchors * len(output_strides)
    rng = np.random.default_rng(seed)
    sizes = _box_sizes(samples, input_hw)
    if len(sizes) > _MAX_BOXES:
        sizes = sizes[rng.choice(len(sizes), _MAX_BOXES, replace=False)]
    starts = [start for _ in range(_NUM_STARTS) if (start := _spread_start(sizes, count, rng)) is not None]
    if starts:
        clustered = [_cluster(sizes, start) for start in starts]
        fitted = _refine(sizes, max(clustered, key=lambda start: _mean_best_iou(sizes, start)), rng)
    else:
        fitted = _stock_anchors(sizes, count, input_hw=input_hw)
    ordered = fitted[np.argsort(fitted.prod(axis=1), kind="stable")]
    pairs = [(round(float(width), 2), round(float(height), 2)) for width, height in ordered]
    return tuple(tuple(pairs[i : i + num_anchors]) for i in range(0, count, num_anchors))


def cell_anchors(output_strides: Sequence[int]) -> Anchors:
    """Return the anchors of a head without anchors: one a cell, of the cell's size."""
    return tuple(((float(stride), float(stride)),) for stride in output_strides)


def choose_anchors(network: nn.Module, samples: Sequence[Sample], *, input_hw: tuple[int, int]) -> Anchors:
    """Return the anchors that a network's predictions refer to.

    Args:
        network: With `output_strides` and `has_anchors`.
        samples: The training split, to which anchors are fitted.
        input_hw: Height and width of the network's input, pixels.
    """
    strides: tuple[int, ...] = network.output_strides  # type: ignore[assignment]
    if not network.has_anchors:
        return cell_anchors(strides)
    return fit_anchors(samples, input_hw=input_hw, output_strides=strides)


def _box_sizes(samples: Sequence[Sample], input_hw: tuple[int, int]) -> _Sizes:
    sizes = [np.zeros((0, 2))]
    for sample in samples:
        boxes = sample.boxes[~sample.ignored].astype(np.float64)
        sizes.append((boxes[:, 2:] - boxes[:, :2]) * fit_letterbox(sample.size_hw, input_hw).scale)
    joined = np.concatenate(sizes)
    usable: _Sizes = joined[(joined >= SMALLEST_SIDE_PX).all(axis=1)]
    return usable


def _iou(sizes: _Sizes, anchors: _Sizes) -> npt.NDArray[np.float64]:
    """Return the (N, K) IoU of boxes and anchors that share a corner."""
    shared = np.minimum(sizes[:, None, 0], anchors[:, 0]) * np.minimum(sizes[:, None, 1], anchors[:, 1])
    iou: npt.NDArray[np.float64] = shared / (sizes.prod(axis=1)[:, None] + anchors.prod(axis=1) - shared)
    return iou


def _mean_best_iou(sizes: _Sizes, anchors: _Sizes) -> float:
    return float(_iou(sizes, anchors).max(axis=1).mean())


def _spread_start(sizes: _Sizes, count: int, rng: np.random.Generator) -> _Sizes | None:
    """Draw boxes as initial centres, each far from the earlier ones (k-means++); None if all boxes soon are centres."""
    if not len(sizes):
        return None
    centres: _Sizes = sizes[rng.integers(len(sizes))][None]
    while len(centres) < count:
        nearest = _iou(sizes, centres).max(axis=1)
        if nearest.min() > _SAME_IOU:
            return None
        distance = (1 - nearest).clip(min=0) ** 2
        chosen = rng.choice(len(sizes), p=distance / distance.sum())
        centres = np.concatenate([centres, sizes[chosen][None]])
    return centres


def _cluster(sizes: _Sizes, centres: _Sizes) -> _Sizes:
    nearest = np.full(len(sizes), -1)
    for _ in range(_NUM_ROUNDS):
        previous, nearest = nearest, _iou(sizes, centres).argmax(axis=1)
        if (nearest == previous).all():
            break
        members = np.bincount(nearest, minlength=len(centres))
        sums = np.stack([np.bincount(nearest, sizes[:, side], len(centres)) for side in (0, 1)], axis=1)
        centres = np.where(members[:, None] > 0, sums / np.maximum(members, 1)[:, None], centres)
    return centres


def _refine(sizes: _Sizes, anchors: _Sizes, rng: np.random.Generator) -> _Sizes:
    best, best_fit = anchors, _mean_best_iou(sizes, anchors)
    for _ in range(_NUM_MUTATIONS):
        changed = rng.uniform(size=anchors.shape) < 0.3
        tried = (best * np.exp(_MUTATION * rng.standard_normal(anchors.shape) * changed)).clip(min=SMALLEST_SIDE_PX)
        fit = _mean_best_iou(sizes, tried)
        if fit > best_fit:
            best, best_fit = tried, fit
    return best


def _stock_anchors(sizes: _Sizes, count: int, *, input_hw: tuple[int, int]) -> _Sizes:
    places = np.linspace(0, len(_STOCK_416) - 1, count)
    logs = [np.interp(places, range(len(_STOCK_416)), np.log(_STOCK_416[:, side])) for side in (0, 1)]
    stock = np.exp(np.stack(logs, axis=1))
    scale = np.exp(np.log(sizes).mean() - np.log(stock).mean()) if len(sizes) else max(input_hw) / _STOCK_SIZE
    return (stock * scale).clip(min=SMALLEST_SIDE_PX, max=input_hw[::-1])
