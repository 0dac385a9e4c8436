"""The network an architecture names.

Legend: B batch, H W height and width of the image, A anchors a cell, K classes.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from spaces.architecture import Architecture
from spaces.networks.backbones import Backbone, block_shapes, build_blocks, last_block_of_each_stride
from spaces.networks.head import Head
from spaces.networks.legality import check_legal
from spaces.networks.rfcr import Rfcr
from spaces.scale_set import ArchitectureError

NUM_ANCHORS = 3
"""Anchors a cell, at each output stride."""


class YoloReT(nn.Module):
    """A truncated backbone, the RFCR neck where there is one, a detection head.

    Args:
        backbone: From (B, 3, H, W) to a map of stride to features.
        neck: RFCR, or None.
        head: The detection head; its strides are the network's output strides.
    """

    def __init__(self, backbone: Backbone, neck: Rfcr | None, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.head = head

    @property
    def output_strides(self) -> tuple[int, ...]:
        """Strides of the returned maps in pixels, fine to coarse."""
        return self.head.strides

    @property
    def prediction_convs(self) -> list[nn.Conv2d]:
        """The last convolution of each output stride, fine to coarse."""
        return [conv for conv in self.head.predict.values() if isinstance(conv, nn.Conv2d)]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Predict raw maps.

        Args:
            images: (B, 3, H, W) float32 RGB, normalised by ImageNet's mean and deviation; H and W are multiples of
                the coarsest stride.

        Returns:
            One map an output stride, fine to coarse, each (B, A·(5 + K), H / stride, W / stride) of logits; an anchor's
            channels are x, y, w, h, objectness, classes.
        """
        features = self.backbone(images)
        if self.neck is not None:
            features = {**features, **self.neck(features)}
        return self.head(features)  # type: ignore[no-any-return]


def build_network(architecture: Architecture, *, num_classes: int) -> YoloReT:
    """Build the network of an architecture, with random weights.

    Args:
        architecture: Any legal one.
        num_classes: K, at least 1.

    Raises:
        ArchitectureError: the architecture is not legal, or there is no class.
    """
    if num_classes < 1:
        raise ArchitectureError(f"a detector of {num_classes} classes detects nothing", hint="name at least one class")
    check_legal(architecture)
    channels = feature_channels(architecture)
    stem, blocks = build_blocks(architecture.backbone)
    backbone = Backbone(stem, blocks[: architecture.truncation], taps=find_taps(architecture))
    neck = build_neck(architecture, channels)
    return YoloReT(backbone, neck, build_head(architecture, channels, num_classes=num_classes))


def find_taps(architecture: Architecture) -> dict[int, int]:
    """Map the strides that neck and head use to the backbone's blocks that are tapped for them."""
    last = last_block_of_each_stride(block_shapes(architecture.backbone)[: architecture.truncation])
    return {stride: last[stride] for stride in architecture.taps}


def feature_channels(architecture: Architecture) -> dict[int, int]:
    """Map the same strides to the channels of the backbone's features there."""
    shapes = block_shapes(architecture.backbone)
    return {stride: shapes[index].channels for stride, index in find_taps(architecture).items()}


def build_neck(architecture: Architecture, channels: Mapping[int, int]) -> Rfcr | None:
    """Build the neck of an architecture; None where it has none.

    Args:
        architecture: Any legal one.
        channels: Stride to channels of the backbone's features.
    """
    if architecture.scale_set is None:
        return None
    return Rfcr(
        channels,
        scale_set=architecture.scale_set,
        shortcut=architecture.shortcut,
        shortcut_stride=architecture.shortcut_stride,
        width=architecture.rfcr_width,
        out_channels=architecture.rfcr_channels,
        kernel=architecture.rfcr_kernel,
    )


def build_head(architecture: Architecture, channels: Mapping[int, int], *, num_classes: int) -> Head:
    """Build the head of an architecture.

    Args:
        architecture: Any legal one.
        channels: Stride to channels of the backbone's features.
        num_classes: K, at least 1.
    """
    return Head(
        head_channels(architecture, channels),
        name=architecture.head,
        width=architecture.head_width,
        out_channels=NUM_ANCHORS * (5 + num_classes),
        prediction_bias=architecture.prediction_bias,
    )


def head_channels(architecture: Architecture, channels: Mapping[int, int]) -> dict[int, int]:
    """Map the output strides to the channels that reach the head: the backbone's, and RFCR's where it hands back.

    Args:
        architecture: Any legal one.
        channels: Stride to channels of the backbone's features.
    """
    handed = architecture.scale_set.hand_back if architecture.scale_set else ()
    return {s: channels[s] + (architecture.rfcr_channels if s in handed else 0) for s in architecture.outputs}
