"""The generated dataset: drawn shapes with exact boxes, for use without a download.

Each image depends on (seed, split, index) alone. Nothing is written to disk: loading a sample draws it.
"""

import re
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from trials.data.dataset import SPLITS, Dataset, DatasetError, Sample, assemble_dataset
from trials.data.shape_scene import SHAPE_CLASSES, PlacedShape, draw_scene, lay_out_scene

_SPEC_KEYS = {
    "train": "num_train",
    "val": "num_val",
    "test": "num_test",
    "size": "size",
    "classes": "num_classes",
    "seed": "seed",
}
_LAYOUT, _DRAWING = 0, 1  # separate random streams, so that boxes are known without drawing


@dataclass(frozen=True, kw_only=True)
class ShapesSettings:
    """Number and difficulty of the images."""

    num_train: int = 320
    """Training images, at least 1."""
    num_val: int = 200
    """Validation images, at least 1."""
    num_test: int = 0
    """Test images; 0 for no test split."""
    size: int = 128
    """Side of the square images, pixels, 32 to 2048."""
    num_classes: int = 3
    """How many of the shapes of `SHAPE_CLASSES`, in order."""
    seed: int = 0
    """Any non-negative integer; each gives different images."""
    max_objects: int = 3
    """Most objects in an image; their number is uniform from 1."""
    min_share: float = 0.15
    """Smallest size of a shape as a share of the image's side; sizes are log-uniform."""
    max_share: float = 0.6
    """Largest size of a shape as a share of the image's side."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("num_train", 1, 10**6),
            ("num_val", 1, 10**6),
            ("num_test", 0, 10**6),
            ("size", 32, 2048),
            ("num_classes", 1, len(SHAPE_CLASSES)),
            ("seed", 0, 2**32 - 1),
            ("max_objects", 1, 50),
        ):
            if not low <= getattr(self, name) <= high:
                raise DatasetError(f"shapes: {name} is {getattr(self, name)}, not from {low} to {high}")
        if not 0.02 <= self.min_share <= self.max_share <= 0.9:
            raise DatasetError(f"shapes: sizes {self.min_share} to {self.max_share} are not within 0.02 to 0.9")


@dataclass(frozen=True)
class ShapesImage:
    """Draws one image; calling it returns (S, S, 3) uint8 RGB."""

    settings: ShapesSettings
    """The dataset."""
    split: str
    """The image's split."""
    index: int
    """Its index in the split."""

    def __call__(self) -> npt.NDArray[np.uint8]:
        """Draw the image; the result is the same each time."""
        return draw_scene(self.lay_out(), self.settings.size, rng=self._generator(_DRAWING))

    def lay_out(self) -> tuple[PlacedShape, ...]:
        """Return the image's shapes, the first at the back."""
        settings = self.settings
        return lay_out_scene(
            self._generator(_LAYOUT),
            size=settings.size,
            num_classes=settings.num_classes,
            max_objects=settings.max_objects,
            shares=(settings.min_share, settings.max_share),
        )

    def _generator(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.settings.seed, SPLITS.index(self.split), self.index, purpose))


def is_shapes_spec(spec: str) -> bool:
    """Return whether a dataset description means generated shapes; use ``./shapes`` for a folder of that name."""
    return spec == "shapes" or spec.startswith("shapes:")


def parse_shapes(spec: str) -> ShapesSettings:
    """Read ``shapes`` or ``shapes:train=240,val=80,test=40,size=160,classes=4,seed=0``, any keys, any order.

    Raises:
        DatasetError: A key is unknown, or a value is not a whole number or out of range.
    """
    values: dict[str, int] = {}
    for item in filter(None, spec.removeprefix("shapes").removeprefix(":").split(",")):
        key, _, value = item.partition("=")
        if key.strip() not in _SPEC_KEYS or not re.fullmatch("[0-9]{1,9}", value.strip()):
            raise DatasetError(
                f"{spec!r}: {item!r} is not key=number with a key of {', '.join(_SPEC_KEYS)}",
                hint="for example shapes:train=240,val=80,size=160",
            )
        values[_SPEC_KEYS[key.strip()]] = int(value)
    return ShapesSettings(**values)


def make_shapes(settings: ShapesSettings) -> Dataset:
    """Return the dataset of these settings; nothing is drawn until a sample is loaded.

    Its name is the shortest ``shapes:...`` that describes it.
    """
    counts = {"train": settings.num_train, "val": settings.num_val, "test": settings.num_test}
    defaults = {field.name: field.default for field in fields(ShapesSettings)}
    values = {key: getattr(settings, name) for key, name in _SPEC_KEYS.items()}
    changed = [f"{key}={value}" for key, value in values.items() if value != defaults[_SPEC_KEYS[key]]]
    return assemble_dataset(
        ":".join(filter(None, ("shapes", ",".join(changed)))),
        "shapes",
        class_names=tuple(SHAPE_CLASSES)[: settings.num_classes],
        splits={
            split: [_make_sample(settings, split, index) for index in range(count)]
            for split, count in counts.items()
            if count
        },
    )


def _make_sample(settings: ShapesSettings, split: str, index: int) -> Sample:
    image = ShapesImage(settings, split, index)
    shapes = image.lay_out()
    return Sample(
        name=f"shapes/{split}/{index}",
        size_hw=(settings.size, settings.size),
        boxes=np.array([shape.box for shape in shapes], np.float32).reshape(-1, 4),
        labels=np.array([shape.label for shape in shapes], np.int64),
        ignored=np.zeros(len(shapes), np.bool_),
        load=image,
    )
