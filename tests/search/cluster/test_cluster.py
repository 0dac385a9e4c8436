"""Searches on a real Ray cluster of two nodes, both of them processes of this machine."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from search.driver.search import run_search
from search.study.settings import StudySettings
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import FEW, RecordingView
from trials.progress import Progress

ray = pytest.importorskip("ray", reason="the extra [cluster] is not installed")

from search.cluster import ClusterDevices, ClusterError, RayExecutor, Resources, connected  # noqa: E402

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::ResourceWarning")]

ONE = Resources(cpus=1, gpus=0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head with one core that measures, as the node of the resource `bench`, and a node with one core."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "resources": {"bench": 1}})
    found.node = found.add_node(num_cpus=1)
    found.connect(namespace="yoloret-nas")
    found.wait_for_nodes()
    yield found
    ray.shutdown()
    found.shutdown()


class ActingView(RecordingView):
    """Acts each time that a further trial trains, until it has nothing left to do."""

    def __init__(self, *acts: Callable[[], None]) -> None:
        super().__init__()
        self._acts = list(acts)
        self._trained: set[int] = set()

    def progressed(self, number: int, progress: Progress) -> None:
        if self._acts and progress.phase == "train" and number not in self._trained:
            self._trained.add(number)
            self._acts.pop(0)()


def _kill_actors(kind: str) -> None:
    """Kill the processes of all Ray actors of a class."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if (folder / "cmdline").read_bytes().startswith(f"ray::{kind}".encode()):
                os.kill(int(folder.name), signal.SIGKILL)


def _search(settings: StudySettings, view: RecordingView, *, workers: int | None = None, **more: Any) -> Any:
    devices = ClusterDevices.on("bench")
    executor = RayExecutor(devices=devices, each=ONE, workers=workers, notice=view.noticed)
    return executor, run_search(settings, executor=executor, devices=devices, view=view, **more)


@pytest.fixture
def chosen(settings: MakeSettings, root: Path) -> StudySettings:
    root.mkdir(exist_ok=True)
    return settings(space=FEW, max_latency_ms=1e3, dataset="shapes:train=8,val=4,size=64")


def test_a_search_uses_all_nodes_and_brings_every_file_back(cluster: Any, chosen: StudySettings) -> None:
    view = RecordingView()
    _, outcome = _search(chosen, view)
    assert [record.result.state for record in outcome.summary.records] == ["complete"] * 4
    assert len({record.architecture.key for record in outcome.summary.records}) == 4
    assert sum("takes trials" in note for note in view.notices) == 2
    for record in outcome.summary.records:
        files = {path.name for path in chosen.trial_folder(record.number).iterdir()}
        assert {"result.json", "architecture.json", "detections.jpg"} <= files
        is_on_front = record in outcome.summary.front
        assert ({"checkpoint.pt", "model.onnx"} <= files) == is_on_front  # the others' weights are not kept
        assert record.result.latency is not None
        assert record.result.latency.device.kind == "cpu"
    assert [path.parent for path in Path(tempfile.gettempdir()).glob("yoloret-nas-*/*/result.json")] == []


def test_whatever_leaves_costs_a_retry_and_what_joins_is_used(cluster: Any, chosen: StudySettings) -> None:
    def swap_node() -> None:
        cluster.remove_node(cluster.node, allow_graceful=False)
        cluster.node = cluster.add_node(num_cpus=1)

    view = ActingView(swap_node, lambda: _kill_actors("Slot"), lambda: _kill_actors("Meter"))
    _, outcome = _search(chosen, view)
    assert [record.result.state for record in outcome.summary.records] == ["complete"] * 4
    assert len({record.architecture.key for record in outcome.summary.records}) == 4
    assert sum("takes trials" in note for note in view.notices) == 3
    assert any("will be tried again" in note and "is gone" in note for note in view.notices)


def test_an_interrupted_search_ends_at_once_and_is_resumed(cluster: Any, chosen: StudySettings) -> None:
    stopped = list[bool]()
    view = ActingView(lambda: stopped.append(True))
    executor, outcome = _search(chosen, view, stop_requested=lambda: "now" if stopped else "no")
    assert outcome.ending == "interrupted"
    assert executor.close() == []
    _, again = _search(chosen, RecordingView())
    assert [record.result.state for record in again.summary.records] == ["complete"] * 4


def test_an_unknown_device_host_is_refused(cluster: Any) -> None:
    with pytest.raises(ClusterError, match="no node of the cluster has the resource 'nano'") as caught:
        ClusterDevices.on("nano").meter("cpu")
    assert "bench" in caught.value.hint


def test_a_cluster_that_does_not_exist_is_refused() -> None:
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(ClusterError, match=r"no Ray cluster answers at 127\.0\.0\.1:9"), connected("ray://127.0.0.1:9"):
        pass


@pytest.mark.parametrize(
    ("each", "fit"), [(ONE, 16), (Resources(cpus=2, gpus=0.25), 8), (Resources(cpus=1, gpus=1), 2)]
)
def test_how_many_trials_fit(each: Resources, fit: int) -> None:
    assert each.fit_into(Resources(cpus=16, gpus=2)) == fit
