"""The paper's own experiments, as named architectures.

Source: YOLO-ReT, Fig. 2 (transfer learning), the ablation, and the comparison of necks.
"""

from spaces.architecture import Architecture
from spaces.networks import block_shapes, count_cost
from spaces.presets import PRESETS
from spaces.scale_set import ArchitectureError
from spaces.space import RFCR_AXES

_DROPPED = 2
"""Blocks cut off a backbone that is not the paper's, as many as of MobileNetV2: its last bottleneck and convolution."""
_COARSEST = 32
"""Stride that the paper's head needs."""
_NO_RFCR = {"neck": "none", "scale_set": None, "shortcut": "none", **dict.fromkeys(RFCR_AXES, 0)}
_OWN_LENGTH = {one.backbone: one.truncation for one in PRESETS.values()}


def truncated_length(backbone: str) -> int:
    """Return the number of blocks that the paper keeps of a backbone, or would.

    Raises:
        ArchitectureError: the backbone is unknown.
    """
    return _OWN_LENGTH.get(backbone, len(block_shapes(backbone)) - _DROPPED)


def ablation(backbone: str, *, input_size: int) -> dict[str, Architecture]:
    """Return the paper's ablation: its light head alone, then RFCR, truncation and shortcut added one by one.

    All kept blocks start from ImageNet weights.

    Args:
        backbone: A name in `BACKBONES`.
        input_size: Pixels.

    Raises:
        ArchitectureError: the backbone is unknown, or the input size is no multiple of 32.
    """
    whole, cut = len(block_shapes(backbone)), truncated_length(backbone)
    base = Architecture(backbone=backbone, truncation=whole, transfer=whole, input_size=input_size)
    shorter = base.replace(truncation=cut, transfer=cut)
    return {
        "head": base.replace(**_NO_RFCR),
        "+ RFCR": base,
        "+ truncation": shorter,
        "+ shortcut": shorter.replace(shortcut="maxpool"),
    }


def necks(backbone: str, *, input_size: int) -> dict[str, Architecture]:
    """Return one truncated backbone with each neck before the same detection layers: none, FPN, PAN, BiFPN, RFCR.

    Raises:
        ArchitectureError: the backbone is unknown, or the input size is no multiple of 32.
    """
    cut = truncated_length(backbone)
    base = Architecture(backbone=backbone, truncation=cut, transfer=cut, input_size=input_size)
    bare = base.replace(**_NO_RFCR)
    return {
        "no neck": bare.replace(head="plain"),
        "FPN": bare.replace(head="fpn"),
        "PAN": bare.replace(head="fpn_pan"),
        "BiFPN": bare.replace(neck="bifpn", head="plain"),
        "RFCR": base.replace(head="plain", shortcut="maxpool"),
        "RFCR + PAN": base.replace(shortcut="maxpool"),
    }


def truncation_against_width(narrow: str, wide: str, *, input_size: int) -> dict[str, Architecture]:
    """Return two backbones, each whole, at the paper's length and as short as their strides allow.

    The paper's point is that a wide backbone that is cut beats a narrow one that is whole, at equal latency.

    Args:
        narrow: A name in `BACKBONES`.
        wide: Another one, with more multiply-adds when whole.
        input_size: Pixels.

    Returns:
        "backbone[:k of n]" to the architecture that keeps k of n blocks, all of which start from ImageNet weights.

    Raises:
        ArchitectureError: a backbone is unknown, or the input size is no multiple of 32; or the wide one, whole, takes no
            more multiply-adds than the narrow one.
    """
    wholes = [
        Architecture(backbone=one, truncation=len(block_shapes(one)), input_size=input_size) for one in (narrow, wide)
    ]
    cheap, dear = (count_cost(one, num_classes=1).macs for one in wholes)
    if dear <= cheap:
        raise ArchitectureError(
            f"{wide} is not wider than {narrow}: whole they take {dear / 1e6:.0f} and {cheap / 1e6:.0f} million "
            "multiply-adds",
            hint="name the narrow backbone first",
        )
    variants = {}
    for backbone in (narrow, wide):
        shapes = block_shapes(backbone)
        shortest = next(index for index, shape in enumerate(shapes, 1) if shape.stride == _COARSEST)
        for kept in sorted({shortest, truncated_length(backbone), len(shapes)}):
            variants[f"{backbone}[:{kept} of {len(shapes)}]"] = Architecture(
                backbone=backbone, truncation=kept, transfer=kept, input_size=input_size, shortcut="maxpool"
            )
    return variants


def transfer_curve(backbone: str, *, input_size: int, boundaries: tuple[int, ...] = ()) -> dict[str, Architecture]:
    """Return the paper's Fig. 2: no truncation, a growing number of blocks from ImageNet weights, the rest random.

    Args:
        backbone: A name in `BACKBONES`.
        input_size: Pixels.
        boundaries: Numbers of blocks; if empty, seven spread over the backbone.

    Returns:
        "k of n" to the architecture whose first k of n blocks start from ImageNet weights.

    Raises:
        ArchitectureError: the backbone is unknown, a boundary is not from 0 to its number of blocks, or the input size is no
            multiple of 32.
    """
    whole = len(block_shapes(backbone))
    chosen = boundaries or tuple(dict.fromkeys(round(whole * step / 6) for step in range(7)))
    base = Architecture(backbone=backbone, truncation=whole, input_size=input_size, shortcut="maxpool")
    return {f"{boundary} of {whole}": base.replace(transfer=boundary) for boundary in sorted(chosen)}
