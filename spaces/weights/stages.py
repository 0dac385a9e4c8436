"""The numbering of blocks in timm: by stage, and within it."""

from collections.abc import Sequence

from spaces.scale_set import ArchitectureError


def place_in_stages(number: int, blocks_of_stage: Sequence[int]) -> str:
    """Return a block's stage and its index within it as ``STAGE.INDEX``; all count from 0.

    Raises:
        ArchitectureError: the stages have fewer blocks.
    """
    first = 0
    for stage, count in enumerate(blocks_of_stage):
        if number < first + count:
            return f"{stage}.{number - first}"
        first += count
    raise ArchitectureError(f"there is no block {number}: the network has {first}")
