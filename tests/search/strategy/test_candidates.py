"""How models see architectures."""

import dataclasses

from search.strategy.candidates import Encoder
from search.study.database.parameters import distributions, from_parameters, to_parameters
from spaces.named_spaces import open_space

TINY = open_space("tiny")
WITH_NECKS = dataclasses.replace(TINY, axes={**TINY.axes, "neck": ("none", "rfcr", "bifpn")})


def test_a_neck_axis_adds_one_parameter_that_reads_back() -> None:
    assert distributions(WITH_NECKS).keys() - distributions(TINY).keys() == {"neck"}
    for index in range(0, WITH_NECKS.size, WITH_NECKS.size // 40):
        architecture = WITH_NECKS[index]
        assert from_parameters(WITH_NECKS, to_parameters(WITH_NECKS, architecture)) == architecture


def test_neck_and_scale_set_are_one_category() -> None:
    base = next(one for one in WITH_NECKS if one.neck == "none" and one.head == "plain")
    rfcr = next(one for one in WITH_NECKS if one.neck == "rfcr" and one.head == "plain")
    encoded = Encoder(num_classes=2).encode([base, base.replace(neck="bifpn"), rfcr])
    assert encoded.categories.shape == (3, 1)  # the other choices, which are the same, say nothing
    assert len(set(encoded.categories[:, 0])) == 3
    assert Encoder(num_classes=2).encode([base]).categories.shape == (1, 0)
