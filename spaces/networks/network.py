"""The network an architecture names.

Legend: B batch, H W height and width of the image, A anchors per cell, K classes, N bins of a distance.
"""

from torch import Tensor, nn

from spaces.architecture import Architecture
from spaces.networks.backbones import Backbone, block_shapes, build_blocks
from spaces.networks.heads import HEADS, AnyHead
from spaces.networks.legality import check_legal
from spaces.networks.necks import NECKS
from spaces.scale_set import ArchitectureError


class YoloReT(nn.Module):
    """A truncated backbone, a neck if there is one, a detection head.

    Args:
        backbone: From (B, 3, H, W) to a mapping of stride to features.
        neck: From such a mapping to one of the strides it changes; None for no neck.
        head: The detection head; its strides are the network's output strides.
    """

    def __init__(self, backbone: Backbone, neck: nn.Module | None, head: AnyHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.head = head

    @property
    def output_strides(self) -> tuple[int, ...]:
        """Strides of the returned maps, in pixels, fine to coarse."""
        return self.head.strides

    @property
    def has_anchors(self) -> bool:
        """Whether predictions refer to anchors."""
        return self.head.has_anchors

    @property
    def prediction_convs(self) -> list[nn.Conv2d]:
        """The last convolution of each output stride, fine to coarse; of the classes in a head without anchors."""
        return [conv for conv in self.head.prediction_convs if isinstance(conv, nn.Conv2d)]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Predict the raw maps.

        Args:
            images: (B, 3, H, W) float32 RGB, normalised as in `spaces.normalisation`; H and W are
                multiples of the coarsest stride.

        Returns:
            One map of logits per output stride, fine to coarse. With anchors each is (B, A·(5 + K), H / stride, W / stride),
            and the channels of an anchor are x, y, w, h, objectness, classes. Without, it is (B, 4·N + K, …): the bins of
            the distances to the left, upper, right and lower side, then the classes.
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
        ArchitectureError: the architecture is not legal, or `num_classes` is below 1.
    """
    if num_classes < 1:
        raise ArchitectureError(f"a detector of {num_classes} classes detects nothing", hint="name at least one class")
    check_legal(architecture)
    channels, neck = feature_channels(architecture), NECKS[architecture.neck]
    stem, blocks = build_blocks(architecture.backbone)
    backbone = Backbone(stem, blocks[: architecture.truncation], taps=find_taps(architecture))
    neck_module = neck.build(architecture, channels)
    head_channels = neck.out_channels(architecture, channels)
    return YoloReT(backbone, neck_module, HEADS[architecture.head].build(architecture, head_channels, num_classes))


def find_taps(architecture: Architecture) -> dict[int, int]:
    """Map each stride that neck or head reads to the index of the last block of it, which is tapped."""
    kept = block_shapes(architecture.backbone)[: architecture.truncation]
    last = {shape.stride: index for index, shape in enumerate(kept)}
    return {stride: last[stride] for stride in architecture.taps}


def feature_channels(architecture: Architecture) -> dict[int, int]:
    """Map the same strides to the channels of the backbone's features at them."""
    shapes = block_shapes(architecture.backbone)
    return {stride: shapes[index].channels for stride, index in find_taps(architecture).items()}
