"""The paper's three networks.

Source: YOLO-ReT, section 4, and the authors' code; with 20 classes they have 1 887 687, 3 798 567 and
8 064 149 values, BN statistics included.
"""

import itertools

from spaces.architecture import Architecture
from spaces.space import Space

_MOBILENET = Architecture(
    backbone="mobilenetv2_075", truncation=16, transfer=16, shortcut="maxpool", prediction_bias=False
)

PRESETS: dict[str, Architecture] = {
    "yoloret-m0.75": _MOBILENET,
    "yoloret-m1.4": _MOBILENET.replace(backbone="mobilenetv2_140"),
    "yoloret-effb3": _MOBILENET.replace(backbone="efficientnet_b3", truncation=24, transfer=24, input_size=416),
}
"""Name to architecture, for Jetson Nano, Xavier NX and AGX Xavier."""


def presets_in(space: Space) -> dict[str, Architecture]:
    """Return the presets that are in a space, by name.

    A preset counts as inside with the space's choice of `prediction_bias`, which adds 225 values with 20 classes, and no
    time, and with its shape of the input image. It also counts with transfer 0, if the space lacks the preset's own.
    """
    found = {}
    for name, architecture in PRESETS.items():
        biases = (architecture.prediction_bias, not architecture.prediction_bias)
        for transfer, bias in itertools.product((architecture.transfer, 0), biases):
            aspect = architecture.aspect if architecture.aspect in space.values("aspect") else space.values("aspect")[0]
            twin = architecture.replace(transfer=transfer, prediction_bias=bias, aspect=aspect)
            if name not in found and twin in space:
                found[name] = twin
    return found
