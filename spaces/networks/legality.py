"""The rules for legal architectures that depend on the backbone's blocks."""

from spaces.architecture import Architecture
from spaces.networks.backbones import BACKBONES, block_shapes
from spaces.scale_set import ArchitectureError, join_strides


def why_illegal(architecture: Architecture) -> str | None:
    """Return why no network can, or should, be built from an architecture; None if it is legal.

    A truncation that keeps blocks after the coarsest stride in use is illegal too: nothing reads their output.
    """
    if architecture.backbone not in BACKBONES:
        return f"backbone {architecture.backbone!r} is unknown; choose one of {', '.join(BACKBONES)}"
    shapes = block_shapes(architecture.backbone)
    if architecture.truncation > len(shapes):
        return f"{architecture.backbone} has {len(shapes)} blocks, so truncation {architecture.truncation} is too large"
    kept = shapes[: architecture.truncation]
    missing = [stride for stride in architecture.taps if stride not in {shape.stride for shape in kept}]
    if missing:
        strides = join_strides(tuple(missing))
        return f"{architecture.backbone} cut at block {architecture.truncation} has no features at stride {strides}"
    if kept[-1].stride > architecture.coarsest_stride:
        return (
            f"{architecture.backbone} cut at block {architecture.truncation} keeps blocks of stride {kept[-1].stride} "
            f"that nothing reads (the coarsest stride in use is {architecture.coarsest_stride})"
        )
    return None


def check_legal(architecture: Architecture) -> None:
    """Check an architecture.

    Raises:
        ArchitectureError: it is illegal; the message is the reason.
    """
    if reason := why_illegal(architecture):
        raise ArchitectureError(reason)
