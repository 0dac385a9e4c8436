"""A space as the text of its file."""

import yaml

from spaces.space import Space

_HEAD = """\
# A search space for: yoloret-nas search --space THIS_FILE     (look at it: yoloret-nas space THIS_FILE)
# truncation: blocks kept; transfer: blocks that start from ImageNet weights (0 none).
# scale_set: strides collected @ stride of the fusion > output strides it is handed back to; none leaves RFCR out.
"""


def to_yaml(space: Space) -> str:
    """Give the file, with lists on one line each."""
    return _HEAD + yaml.safe_dump(
        space.to_dict(), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True
    )
