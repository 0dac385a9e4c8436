"""The prior that comes with the tool: random networks of space `tiny`, trained on photographs of playing cards.

`benchmarks/built_in_prior.py` made it.
"""

import json
from importlib.resources import files

from search.study.prior import Prior

FILE = "built_in_prior.json"


def built_in_prior() -> Prior:
    """Return it, as a new study copies it."""
    return Prior.from_dict(json.loads(files(__package__).joinpath(FILE).read_text(encoding="utf-8")))
