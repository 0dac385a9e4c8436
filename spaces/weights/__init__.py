"""ImageNet weights for the backbones: from a folder, from timm's hub, or from published files that timm lacks.

They are loaded into the blocks below an architecture's transfer boundary.
"""

from spaces.weights.imagenet import (
    WEIGHTS_DIR,
    WeightsError,
    describe_origin,
    fetch_pretrained,
    load_pretrained,
    why_unavailable,
)

__all__ = ["WEIGHTS_DIR", "WeightsError", "describe_origin", "fetch_pretrained", "load_pretrained", "why_unavailable"]
