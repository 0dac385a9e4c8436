"""A space that the device's TensorRT cannot take is refused before anything is measured."""

from collections.abc import Callable

import pytest

from search.driver.search import run_search
from search.study.read_study import study_names
from search.study.settings import StudySettings
from spaces.space import SpaceError
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import RecordingView, Runs, ScriptedExecutor, StandInDevice
from trials.latency.compatibility import Judge
from trials.onnx import TensorRTVersion, tensorrt_version

NANO = Judge(version=TensorRTVersion(8, 2))


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Gives the device a Nano's TensorRT, and makes that lack MobileNetV3's activation."""
    monkeypatch.setattr("search.driver.devices.judge_of", lambda device: NANO)
    return lambda: monkeypatch.setitem(tensorrt_version._FIRST_IN, "HardSigmoid", TensorRTVersion(8, 4))


def _search(settings: StudySettings) -> tuple[ScriptedExecutor, RecordingView]:
    executor, view = ScriptedExecutor(), RecordingView()
    try:
        run_search(settings, executor=executor, view=view)
    finally:
        assert executor.is_closed
    return executor, view


def test_a_refused_space_names_the_choice_and_leaves_no_study(
    settings: MakeSettings,
    device: StandInDevice,
    tracking: Runs,
    judged: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged()
    monkeypatch.setattr(
        "search.driver.open_and_drive.create_stores", lambda root: pytest.fail("nothing is recorded yet")
    )
    with pytest.raises(SpaceError) as caught:
        _search(settings())
    assert caught.value.message.startswith(
        "space 'some-hundred': cpu refuses 2 of 3 networks that together have all its choices, "
        "those with backbone mobilenetv3_small_050: TensorRT 8.2.0 has no operator HardSigmoid, which "
    )
    assert caught.value.hint == "leave these choices out of the space's file"
    assert study_names(settings().root) == []
    assert (tracking.started, device.measured) == ([], [])


def test_a_space_that_is_taken_is_said_to_be_once(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, judged: Callable[[], None]
) -> None:
    _, view = _search(settings(budget=1))
    said = "cpu takes the space: asked about 3 networks with all its choices: our tables for TensorRT 8.2.0 (opset 13)"
    assert said in view.notices
    judged()  # a study that has begun is not asked again: its trials say what the device refuses
    executor, view = _search(settings(budget=2))
    assert len(executor.started) == 1
    assert not [notice for notice in view.notices if "takes the space" in notice]
