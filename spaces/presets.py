"""The paper's three networks.

Source: YOLO-ReT, section 4, and the authors' code; with 20 classes their weights and BN statistics count 1 887 687,
3 798 567 and 8 064 149 values.
"""

import itertools

from spaces.architecture import Architecture
from spaces.scale_set import ArchitectureError
from spaces.space import Space

PRESETS: dict[str, Architecture] = {
    "yoloret-m0.75": Architecture(
        backbone="mobilenetv2_075", truncation=16, transfer=16, shortcut="maxpool", prediction_bias=False
    ),
    "yoloret-m1.4": Architecture(
        backbone="mobilenetv2_140", truncation=16, transfer=16, shortcut="maxpool", prediction_bias=False
    ),
    "yoloret-effb3": Architecture(
        backbone="efficientnet_b3",
        truncation=24,
        transfer=24,
        shortcut="maxpool",
        prediction_bias=False,
        input_size=416,
    ),
}
"""Name to network, for Jetson Nano, Xavier NX and AGX Xavier."""


def presets_in(space: Space) -> dict[str, Architecture]:
    """Give the presets that lie in a space, by name.

    The bias of the last convolution is the space's to choose for all its networks (it adds some dozen values and no
    time), so a preset counts as inside with the space's choice; likewise from random weights, where the space has no
    other.
    """
    found = {}
    for name, architecture in PRESETS.items():
        biases = (architecture.prediction_bias, not architecture.prediction_bias)
        for transfer, bias in itertools.product((architecture.transfer, 0), biases):
            twin = architecture.replace(transfer=transfer, prediction_bias=bias)
            if name not in found and twin in space:
                found[name] = twin
    return found


def preset(name: str) -> Architecture:
    """Give a preset by its name.

    Raises:
        ArchitectureError: no preset is called so.
    """
    if name not in PRESETS:
        raise ArchitectureError(f"preset {name!r} is unknown", hint=f"choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
