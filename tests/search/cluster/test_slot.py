"""A slot alone, without Ray and without processes."""

from pathlib import Path

import pytest

from search.cluster.slot import Slot
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import FEW, ScriptedExecutor
from trials.trial_result import OneShotTask, TrialRequest


def test_a_training_of_shared_weights_that_was_lost_starts_again_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: MakeSettings
) -> None:
    executor = ScriptedExecutor()
    monkeypatch.setattr("search.cluster.slot.LocalExecutor", lambda **options: executor)
    monkeypatch.setattr("search.cluster.slot.scratch_folder", lambda: tmp_path)
    monkeypatch.setattr("search.cluster.slot.NodeData.find", lambda self, request: "the node's own copy")
    slot = Slot(has_gpu=False)
    request = TrialRequest(
        study_id="a study",
        number=-1,
        architecture=FEW.skeletons[0],
        dataset="data",
        skip_broken=False,
        device="cpu",
        max_latency_ms=None,
        train=settings().train,
        one_shot=OneShotTask(space=FEW, num_scored=1),
        work_dir=Path("of the driver"),
        latency_cache=Path("of the driver"),
    )
    assert slot.start(request, None, b"of the driver's copy")
    assert (tmp_path / "-1" / "last.ckpt").read_bytes() == b"of the driver's copy"
    (tmp_path / "-1" / "last.ckpt").write_bytes(b"of the first epochs")
    (tmp_path / "-1" / "last.partial.ckpt").write_bytes(b"of the fir")
    executor.kill(-1)
    assert slot.start(request, None, b"of the driver's copy")
    assert (tmp_path / "-1" / "last.ckpt").read_bytes() == b"of the first epochs"
    assert [(one.dataset, one.work_dir) for one in executor.started] == [("the node's own copy", tmp_path / "-1")] * 2
    assert slot.fetch(-1) == {"last.ckpt": b"of the first epochs"}


@pytest.mark.parametrize(("has_gpu", "gpus"), [(True, ()), (False, ("",))])
def test_a_slot_without_a_gpu_hides_those_of_its_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_gpu: bool, gpus: tuple[str, ...]
) -> None:
    made: list[dict[str, object]] = []
    monkeypatch.setattr("search.cluster.slot.LocalExecutor", lambda **options: made.append(options))
    monkeypatch.setattr("search.cluster.slot.scratch_folder", lambda: tmp_path)
    Slot(has_gpu=has_gpu)
    assert made == [{"workers": 1, "gpus": gpus}]
