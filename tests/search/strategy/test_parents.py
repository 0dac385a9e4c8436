from search.front.record import TrialRecord
from search.strategy.parents import best_parent
from spaces import Architecture
from tests.search.records import record

BASE = Architecture(backbone="mobilenetv2_035", truncation=16, head="fpn", head_width=32, input_size=64)


def trial(number: int, ap: float = 0.3, **changes: object) -> TrialRecord:
    return TrialRecord(
        number=number, architecture=BASE.replace(**changes), result=record(number, ap, 10.0 + number).result
    )


def chosen(*trials: TrialRecord) -> int | None:
    found = best_parent(BASE, trials)
    return None if found is None else found.number


def test_no_other_backbone_is_a_parent() -> None:
    assert chosen() is None
    assert chosen(trial(0, backbone="mobilenetv2_050")) is None


def test_blocks_count_before_shapes_and_shapes_before_accuracy() -> None:
    shorter, longer = trial(0, truncation=14), trial(1, truncation=17, head_width=64)
    assert chosen(shorter, longer) == 1
    other_size = trial(2, input_size=128)  # the weights do not know the size
    assert chosen(shorter, longer, other_size) == 2
    assert chosen(trial(3, 0.1, head="plain"), trial(4, 0.2, head="plain")) == 4
