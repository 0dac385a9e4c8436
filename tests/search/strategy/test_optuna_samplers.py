"""Samplers, each by the same bars: what they propose is legal, new, and the same again for the same seed."""

import math
import random
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import optuna
import pytest
from hypothesis import given, settings
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from search.strategy.accuracy.observations import observe
from search.strategy.ehvi_sampler import FAILED_LOOKUPS, LOOKUP, EhviSampler
from search.strategy.optuna_samplers import OPTUNA_SAMPLERS, SpaceSampler, _nsga2, first_untried
from search.strategy.settings import StrategySettings
from search.study.database.parameters import distributions, from_parameters, to_parameters
from search.study.database.storage import open_storage
from search.study.database.trial_attributes import INTERRUPTED, WHY
from search.study.errors import SpaceExhaustedError, StudyError
from search.study.settings import SamplerName
from search.study.study import to_record
from spaces import Architecture, YoloRetError
from spaces.named_spaces import open_space
from spaces.space import BackboneChoice, Space
from spaces.weights.imagenet import WeightsError
from tests.search.driver.scripted import FEW, SPACE, fake_ap, fake_latency_ms, latency
from tests.spaces.strategies import spaces_and_architectures
from trials.latency import DeviceAwayError, DeviceError, UnknownDeviceError, UnstableError, UnusableDeviceError
from trials.latency.cache import LatencyCacheError
from trials.onnx import UnsupportedNetworkError
from trials.onnx.export import ExportError
from trials.trial_result import State, TrialResult

pytestmark = pytest.mark.filterwarnings("error", "ignore::optuna.exceptions.ExperimentalWarning")

NAMES = get_args(SamplerName)


@pytest.fixture(autouse=True)
def look_ups_are_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials here take no time, of which look-ups could have a share."""
    monkeypatch.setattr("search.strategy.ehvi_sampler.affordable_lookups", lambda results, **_: 99)


ISLANDS = Space(
    name="islands",
    description="Two outputs, each with a cut of its own: no step of one axis leads from one to the other.",
    backbones={"mobilenetv2_035": BackboneChoice(truncation=(13, 16))},
    axes={"outputs": ("8+16", "8+16+32"), "scale_set": ("none",), "head_width": (32, 48), "input_size": (64,)},
)


def make(name: str, space: Space, *, seed: int = 0) -> BaseSampler:
    if name == "ehvi":
        return EhviSampler(
            space,
            fake_latency_ms,
            notice=print,
            num_classes=3,
            settings=StrategySettings(num_first_lookups=16, num_lookups=2),
            seed=seed,
        )
    return SpaceSampler(space, name=name, seed=seed)


def new_study(sampler: BaseSampler) -> optuna.Study:
    """Return a study whose reference latency is set, as its driver does before the first proposal."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.set_user_attr("reference_latency_ms", 1.1 * max(fake_latency_ms(one) for one in SPACE))
    return study


def tell(study: optuna.Study, trial: optuna.Trial, *, state: State, space: Space = SPACE) -> None:
    """End a trial as its driver does, with made-up figures."""
    architecture = from_parameters(space, trial.params)
    ap, latency_ms = fake_ap(architecture) if state == "complete" else None, fake_latency_ms(architecture)
    trial.set_user_attr("architecture", architecture.to_dict())
    trial.set_user_attr("result", TrialResult(state=state, latency=latency(latency_ms), ap=ap).to_dict())
    trial.set_user_attr("state", state)
    study.tell(trial, [ap or 0.0, latency_ms])


def ask_and_tell(sampler: BaseSampler, space: Space, count: int) -> list[Architecture]:
    """Ask so often; every fifth trial fails, every seventh is pruned, and slow ones are infeasible, as in a study."""
    study = new_study(sampler)
    asked = []
    for number in range(count):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = study.ask(distributions(space))
        architecture = from_parameters(space, trial.params)
        asked.append(architecture)
        if number % 7 == 6 or number % 5 == 4:
            study.tell(trial, state=TrialState.PRUNED if number % 7 == 6 else TrialState.FAIL)
        else:
            tell(study, trial, space=space, state="complete" if fake_latency_ms(architecture) < 45 else "infeasible")
    return asked


def test_every_name_has_a_sampler() -> None:
    assert set(NAMES) == {*OPTUNA_SAMPLERS, "ehvi", "grid"}


@pytest.mark.parametrize("name", NAMES)
def test_proposals_are_legal_and_new(name: SamplerName) -> None:
    count = 18 if name == "gp" else 40  # a Gaussian process takes a third of a second for each
    asked = ask_and_tell(make(name, SPACE), SPACE, count)
    assert all(architecture in SPACE for architecture in asked)
    assert len({architecture.key for architecture in asked}) == count


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_proposes_one_sequence(name: SamplerName) -> None:
    sequences = [ask_and_tell(make(name, SPACE, seed=seed), SPACE, 15) for seed in (3, 3, 4)]
    assert sequences[0] == sequences[1] != sequences[2]


@pytest.mark.parametrize("name", NAMES)
def test_a_space_is_used_up_to_its_last_architecture_and_no_further(name: SamplerName) -> None:
    sampler = make(name, FEW)
    assert {one.key for one in ask_and_tell(sampler, FEW, 4)} == {one.key for one in FEW}
    with pytest.raises(StudyError, match="four"):
        ask_and_tell(make(name, FEW), FEW, 5)


@pytest.mark.parametrize(
    ("name", "first", "later"),
    [
        ("ehvi", r"initial design: [\d.]+ ms", r"expected AP .* ms, expected gain .*% of the reference rectangle"),
        ("gp", "random, since Gaussian process needs more complete trials", "Gaussian process"),
        ("tpe", "random, since TPE needs more complete trials", "TPE"),
        ("nsga2", "random, since NSGA-II needs more complete trials", "NSGA-II"),
        ("random", "random", "random"),
        ("grid", "grid", "grid"),
    ],
)
def test_a_proposal_gives_its_reason(name: SamplerName, first: str, later: str) -> None:
    study = new_study(make(name, SPACE))
    for _ in range(11):
        trial = study.ask(distributions(SPACE))
        tell(study, trial, state="complete")
    reasons = [trial.user_attrs[WHY] for trial in study.get_trials()]
    assert re.fullmatch(first, reasons[0])
    assert re.fullmatch(later, reasons[-1])


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_that_was_interrupted_counts_for_nothing(name: SamplerName) -> None:
    whole = ask_and_tell(make(name, SPACE), SPACE, 1)[0]
    study = new_study(make(name, SPACE))
    for _ in range(3):
        trial = study.ask(distributions(SPACE))
        assert from_parameters(SPACE, trial.params) == whole
        trial.set_user_attr(INTERRUPTED, True)
        study.tell(trial, state=TrialState.FAIL)


def test_the_first_proposals_are_spread_evenly() -> None:
    """Not over the box, in which the few networks without RFCR would take half of all places."""
    share = sum(architecture.scale_set is None for architecture in SPACE) / SPACE.size
    asked = ask_and_tell(SpaceSampler(SPACE, name="random", seed=0), SPACE, 100)
    assert sum(architecture.scale_set is None for architecture in asked) / 100 == pytest.approx(share, abs=0.1)


def test_any_beginning_of_the_grid_is_even() -> None:
    space = open_space("tiny")
    asked = ask_and_tell(SpaceSampler(space, name="grid", seed=0), space, 60)
    for axis in ("backbone", "head", "input_size"):
        counts = [sum(getattr(one, axis) == value for one in asked) for value in space.values(axis)]
        share = [sum(getattr(one, axis) == value for one in space.skeletons) for value in space.values(axis)]
        expected = [1 / len(counts)] * len(counts) if axis != "backbone" else [n / sum(share) for n in share]
        assert [count / 60 for count in counts] == pytest.approx(expected, abs=0.1)


def test_a_pruned_trial_counts_as_what_it_was_expected_to_end_at() -> None:
    """Nine curves double from half-way to the end; the pruned one, of the costliest networks, stood at nothing there."""
    study = new_study(make("ehvi", SPACE))
    rng = random.Random(1)
    architectures = [SPACE.sample(rng) for _ in range(10)]
    for number, architecture in enumerate(architectures):
        study.enqueue_trial(to_parameters(SPACE, architecture))
        trial = study.ask(distributions(SPACE))
        ap = 0.2 + 0.02 * number
        state: State = "pruned" if number == 9 else "complete"
        history = ((5, 1.0, ap / 2, ap / 2), (10, 1.0, ap, ap)) if number < 9 else ((5, 1.0, 0.05, 0.05),)
        result = TrialResult(state=state, latency=latency(10.0 + number), ap=history[-1][2], history=history)
        trial.set_user_attr("architecture", architecture.to_dict())
        trial.set_user_attr("result", result.to_dict())
        trial.set_user_attr("state", state)
        if state == "complete":
            study.tell(trial, [ap, 10.0 + number])
        else:
            study.tell(trial, state=TrialState.PRUNED)
    records = [to_record(one, {}) for one in study.get_trials()]
    seen = observe(records, {number: number for number in range(10)})
    assert [one.candidate for one in seen] == list(range(10))
    assert [one.ap_std for one in seen[:9]] == [0.0] * 9
    assert seen[9].ap == pytest.approx(0.1)
    assert seen[9].ap_std > 0


def test_the_hypervolume_sought_is_the_study_s_own() -> None:
    """Beyond the study's reference latency nothing counts, so nothing there is named once a model guides the search."""
    sampler = make("ehvi", SPACE)
    study = new_study(sampler)
    study.set_user_attr("reference_latency_ms", 30.0)
    asked = []
    for _ in range(16):
        trial = study.ask(distributions(SPACE))
        architecture = from_parameters(SPACE, trial.params)
        asked.append(fake_latency_ms(architecture))
        tell(study, trial, state="complete")
    assert max(asked[8:]) < 30.0
    assert max(fake_latency_ms(one) for one in SPACE) > 30.0


def test_a_parameter_of_another_space_is_refused() -> None:
    study = optuna.create_study(sampler=SpaceSampler(SPACE, name="tpe", seed=0))
    trial = study.ask()
    with pytest.raises(StudyError, match="parameter 'depth' is not of space 'some-hundred'"):
        trial.suggest_int("depth", 1, 3)


# --- parameters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [SPACE, FEW, ISLANDS], ids=lambda space: space.name)
def test_every_architecture_of_a_small_space_round_trips_through_parameters(space: Space) -> None:
    for architecture in space:
        point = to_parameters(space, architecture)
        assert from_parameters(space, point) == architecture
        for axis, distribution in distributions(space).items():
            assert distribution._contains(distribution.to_internal_repr(point[axis]))


@given(spaces_and_architectures())
@settings(max_examples=40)
def test_architectures_of_named_spaces_round_trip_through_parameters(pair: tuple[Space, Architecture]) -> None:
    space, architecture = pair
    assert from_parameters(space, to_parameters(space, architecture)) == architecture


def test_an_axis_without_a_choice_is_no_parameter() -> None:
    assert set(distributions(FEW)) == {"truncation", "head"}


# --- the nearest that was not tried -------------------------------------------------------------------------------


def keys(architectures: Sequence[Architecture]) -> set[str]:
    return {architecture.key for architecture in architectures}


def test_an_untried_architecture_stays_as_it_is() -> None:
    wanted = SPACE.sample(random.Random(0))
    assert first_untried(wanted, SPACE, tried=set()) == wanted


def test_a_tried_one_becomes_a_neighbour() -> None:
    space = open_space("tiny")
    wanted = space.sample(random.Random(0))
    found = first_untried(wanted, space, tried={wanted.key})
    assert found.key in keys(list(space.neighbours(wanted)))


def test_the_last_one_is_found_wherever_it_is() -> None:
    everything = list(ISLANDS)
    assert len({architecture.outputs for architecture in everything}) == 2
    for last in everything:
        tried = keys(everything) - {last.key}
        assert first_untried(everything[0], ISLANDS, tried=tried) == last
    with pytest.raises(StudyError, match=f"space 'islands' has {ISLANDS.size} architectures, none of them untried"):
        first_untried(everything[0], ISLANDS, tried=keys(everything))


def lookups(study: optuna.Study) -> dict[str, float]:
    """Return the looked-up latencies that a study holds."""
    return {name: value for name, value in study.user_attrs.items() if name.startswith(LOOKUP)}


class LookUps:
    """Measures all architectures of a small space; the third one fails for as long as there are errors left."""

    def __init__(self, *errors: YoloRetError) -> None:
        self._errors = list(errors)
        self.asked: list[Architecture] = []
        self.notes: list[str] = []

    def __call__(self, architecture: Architecture) -> float:
        self.asked.append(architecture)
        if len(self.asked) >= 3 and architecture == self.failing and self._errors:
            raise self._errors.pop(0)
        return fake_latency_ms(architecture)

    @property
    def failing(self) -> Architecture:
        return self.asked[2]

    def study(self, folder: Path) -> optuna.Study:
        """Open the study in a folder, as each driver of it does."""
        sampler = EhviSampler(
            FEW,
            self,
            notice=self.notes.append,
            num_classes=3,
            settings=StrategySettings(num_first_lookups=FEW.size, num_lookups=0),
            seed=0,
        )
        study = optuna.create_study(
            storage=open_storage(folder), study_name="s", directions=["maximize", "minimize"], sampler=sampler,
            load_if_exists=True,
        )  # fmt: skip
        study.set_user_attr("reference_latency_ms", 100.0)
        return study


@pytest.mark.parametrize("trouble", [DeviceAwayError, UnusableDeviceError, UnknownDeviceError, LatencyCacheError])
def test_a_trouble_that_no_network_makes_is_no_answer_about_a_latency(
    tmp_path: Path, trouble: type[YoloRetError]
) -> None:
    look_ups = LookUps(*[trouble("out of reach")] * 4)  # more often than a candidate may fail
    study = look_ups.study(tmp_path)
    for _ in range(4):
        with pytest.raises(trouble, match="out of reach"):
            study.ask(distributions(FEW))
    assert len(lookups(study)) == 2  # what is known is kept
    assert not any(name.startswith(FAILED_LOOKUPS) for name in study.user_attrs)
    assert look_ups.notes == []
    study.ask(distributions(FEW))
    assert lookups(study)[LOOKUP + look_ups.failing.key] == fake_latency_ms(look_ups.failing)


@pytest.mark.parametrize("error", [UnsupportedNetworkError("no operator X"), ExportError("opset 11 was requested")])
def test_a_network_that_the_device_cannot_take_is_looked_up_once_by_all_drivers_of_a_study(
    tmp_path: Path, error: YoloRetError
) -> None:
    look_ups = LookUps(error)
    for _ in range(2):
        study = look_ups.study(tmp_path)
        chosen = from_parameters(FEW, study.ask(distributions(FEW)).params)
        assert chosen.key != look_ups.failing.key
        assert lookups(study)[LOOKUP + look_ups.failing.key] == math.inf
        assert study.user_attrs[FAILED_LOOKUPS + look_ups.failing.key] == [error.message]
    assert len(look_ups.asked) == len(keys(look_ups.asked)) == FEW.size
    (note,) = look_ups.notes
    assert re.fullmatch(
        rf"no latency of candidate \S+\[:\d+\] at 64 px \(it is not tried any more\): {error.message}", note
    )


@pytest.mark.parametrize("trouble", [UnstableError, DeviceError, WeightsError])
def test_a_latency_that_a_passing_trouble_prevented_is_looked_up_again(
    tmp_path: Path, trouble: type[YoloRetError]
) -> None:
    look_ups = LookUps(trouble("other programs held the memory"), trouble("again"))
    for attempt in (1, 2):
        study = look_ups.study(tmp_path)  # a resumed study remembers what failed
        chosen = from_parameters(FEW, study.ask(distributions(FEW)).params)
        assert chosen.key != look_ups.failing.key
        assert LOOKUP + look_ups.failing.key not in lookups(study)
        assert f"(attempt {attempt} of 3)" in look_ups.notes[-1]
    study.ask(distributions(FEW))
    assert lookups(study)[LOOKUP + look_ups.failing.key] == fake_latency_ms(look_ups.failing)
    assert study.user_attrs[FAILED_LOOKUPS + look_ups.failing.key] == ["other programs held the memory", "again"]


TRANSFERS = replace(
    FEW, name="transfers", backbones={"mobilenetv2_035": BackboneChoice(truncation=(14, 16), transfer=(0, 6, 10))}
)
"""Twelve architectures of four networks."""


def test_trainings_of_one_network_share_its_latency_and_its_trouble() -> None:
    asked: list[Architecture] = []

    def measure_ms(architecture: Architecture) -> float:
        asked.append(architecture)
        if len(asked) == 1:
            raise UnsupportedNetworkError("no operator X")
        return fake_latency_ms(architecture)

    sampler = EhviSampler(
        TRANSFERS,
        measure_ms,
        notice=lambda note: None,
        num_classes=3,
        settings=StrategySettings(num_first_lookups=12, num_lookups=2),
        seed=0,
    )
    study = new_study(sampler)
    for _ in range(9):  # three networks, three trainings each
        trial = study.ask(distributions(TRANSFERS))
        assert from_parameters(TRANSFERS, trial.params).replace(transfer=0) != asked[0].replace(transfer=0)
        tell(study, trial, state="complete", space=TRANSFERS)
    with pytest.raises(SpaceExhaustedError):
        study.ask(distributions(TRANSFERS))
    networks = [one.replace(transfer=0).key for one in asked]
    assert len(set(networks)) == len(networks)


def test_a_network_that_failed_twice_without_a_latency_is_not_tried_with_a_third_training() -> None:
    study = new_study(make("ehvi", TRANSFERS))
    bad = next(iter(TRANSFERS)).replace(transfer=0)
    failed = 0
    for _ in range(11):  # of twelve trainings, three are of the network that fails
        trial = study.ask(distributions(TRANSFERS))
        architecture = from_parameters(TRANSFERS, trial.params)
        if architecture.replace(transfer=0) != bad:
            tell(study, trial, state="complete", space=TRANSFERS)
            continue
        failed += 1
        trial.set_user_attr("architecture", architecture.to_dict())
        trial.set_user_attr("result", TrialResult(state="failed", reason="killed").to_dict())
        study.tell(trial, state=TrialState.FAIL)
    assert failed == 2
    with pytest.raises(SpaceExhaustedError):
        study.ask(distributions(TRANSFERS))


def test_mutations_of_nsga2_reach_all_values() -> None:
    """A mutated parameter is left out of its proposal and drawn evenly; once it always became the axis' first value."""
    space = replace(FEW, name="sizes", axes={**FEW.axes, "input_size": (64, 96, 128, 160, 192, 224, 256, 288)})
    sampler = SpaceSampler(space, name="nsga2", seed=0)
    study = new_study(sampler)
    study.set_user_attr("reference_latency_ms", 1e3)
    for _ in range(10):
        tell(study, study.ask(distributions(space)), state="complete", space=space)
    number = study.ask(distributions(space)).number
    asked = study.get_trials()[number]
    drawn: list[int] = []
    for seed in range(60):
        proposal = sampler._ask_inner(study, asked, seed=seed)
        assert proposal is not None
        assert proposal.keys() == distributions(space).keys()
        if "input_size" not in _nsga2(seed).sample_relative(study, asked, distributions(space)):
            drawn.append(proposal["input_size"])
    assert len(drawn) > 8
    assert len(set(drawn)) > 4


def test_a_latency_is_given_up_after_three_troubles(tmp_path: Path) -> None:
    """All others are tried by then: the last attempts follow each other, and the space counts as used up only then."""
    look_ups = LookUps(*[UnstableError("no steady figure")] * 9)
    study = look_ups.study(tmp_path)
    for _ in range(FEW.size - 1):
        study.ask(distributions(FEW))
    with pytest.raises(SpaceExhaustedError, match="no architecture of space 'four' is left"):
        study.ask(distributions(FEW))
    assert look_ups.asked.count(look_ups.failing) == 3
    assert lookups(study)[LOOKUP + look_ups.failing.key] == math.inf
    assert "(it is not tried any more): no steady figure" in look_ups.notes[-1]


def test_a_passing_trouble_does_not_use_up_the_space(tmp_path: Path) -> None:
    look_ups = LookUps(*[UnstableError("no steady figure")] * 2)
    study = look_ups.study(tmp_path)
    asked = [from_parameters(FEW, study.ask(distributions(FEW)).params) for _ in range(FEW.size)]
    assert keys(asked) == keys(list(FEW))
