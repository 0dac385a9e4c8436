"""Hypothesis strategies over the named spaces."""

import random

from hypothesis import strategies as st

from spaces import Architecture
from spaces.named_spaces import SPACES
from spaces.space import Space

_SPACES: dict[str, Space] = {name: make() for name, make in SPACES.items()}


@st.composite
def spaces_and_architectures(draw: st.DrawFn) -> tuple[Space, Architecture]:
    """A named space and one of its architectures, with inputs of any shape."""
    named = _SPACES[draw(st.sampled_from(sorted(_SPACES)))]
    space = named.with_aspects((draw(st.sampled_from(("1:1", "4:3", "16:9", "3:5"))),))
    return space, space.sample(random.Random(draw(st.integers(0, 2**32))))


def architectures() -> st.SearchStrategy[Architecture]:
    """Any architecture of a named space."""
    return spaces_and_architectures().map(lambda pair: pair[1])
