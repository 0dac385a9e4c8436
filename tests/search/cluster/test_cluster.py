"""Searches on a real Ray cluster of two nodes, both of them processes of this machine."""

import gc
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import optuna
import pytest
from optuna.trial import TrialState

from search.driver.executor import Lost, Progressed
from search.driver.experiment import run_experiment
from search.driver.search import run_search
from search.study.database.storage import open_storage
from search.study.experiment import ExperimentSettings, Variant
from search.study.read_study import read_study
from search.study.settings import StudySettings
from spaces import Architecture, YoloRetError
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import FEW, RecordingView
from trials.progress import Progress
from trials.training import TrainSettings
from trials.training.settings import LAST_FILE
from trials.trial_result import TrialRequest

ray = pytest.importorskip("ray", reason="the extra [cluster] is not installed")

from search.cluster import (  # noqa: E402
    ClusterDevices,
    ClusterError,
    RayExecutor,
    Resources,
    connected,
    devices,
    ray_executor,
)

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
    del found
    gc.collect()  # what Ray left open is told here, where that is ignored, and not in any later test


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


def _await(is_so: Callable[[], bool], executor: RayExecutor) -> None:
    """Wait until something is so; a new process of Ray takes half a minute where all cores are taken."""
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline
        assert executor.events(timeout_s=1.0) == []


def _search(
    settings: StudySettings,
    view: RecordingView,
    *,
    workers: int | None = None,
    device_host: str = "bench",
    **more: Any,
) -> Any:
    devices = ClusterDevices.on(device_host)
    executor = RayExecutor(devices=devices, each=ONE, workers=workers, notice=view.noticed)
    return executor, run_search(settings, executor=executor, devices=devices, view=view, **more)


def _request(number: int, architecture: Architecture, folder: Path) -> TrialRequest:
    return TrialRequest(
        study_id="a study",
        number=number,
        architecture=architecture,
        dataset="shapes",
        skip_broken=False,
        device="cpu",
        max_latency_ms=None,
        train=TrainSettings(),
        work_dir=folder,
        latency_cache=folder / "latency.db",
    )


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
        gone = cluster.node.node_id
        cluster.remove_node(cluster.node, allow_graceful=False)
        deadline = time.monotonic() + 60
        while any(
            node["NodeID"] == gone and node["Alive"] for node in ray.nodes()
        ):  # Ray finds out later, as it pleases
            assert time.monotonic() < deadline
            time.sleep(0.1)
        cluster.node = cluster.add_node(num_cpus=1)

    view = ActingView(swap_node, lambda: _kill_actors("Slot"), lambda: _kill_actors("Meter"))
    _, outcome = _search(chosen, view)
    assert [record.result.state for record in outcome.summary.records] == ["complete"] * 4
    assert len({record.architecture.key for record in outcome.summary.records}) == 4
    assert sum("takes trials" in note for note in view.notices) == 3
    assert any("will be tried again" in note and "is gone" in note for note in view.notices)
    assert any(note.startswith("node ") and "is gone, " in note for note in view.notices)


def test_a_search_whose_device_s_host_stays_away_ends_without_a_failed_trial(
    cluster: Any, chosen: StudySettings, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = cluster.add_node(num_cpus=0, resources={"nano": 1})
    monkeypatch.setattr(ray_executor, "_AWAY_S", 0.0)
    view = ActingView(lambda: cluster.remove_node(host, allow_graceful=False))
    with pytest.raises(ClusterError, match="the host of the device is gone") as caught:
        _search(chosen, view, device_host="nano")
    assert caught.value.hint.startswith("bring it back")
    trials = optuna.load_study(study_name=chosen.name, storage=open_storage(root)).get_trials(deepcopy=False)
    assert TrialState.RUNNING not in {trial.state for trial in trials}
    assert read_study(root, chosen.name).summary.states["failed"] == 0


def test_a_device_s_host_that_comes_back_is_told(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Devices(ClusterDevices):
        away: ClassVar = [None, "nano", "nano", None, None]

        def missing_host(self) -> str | None:
            return self.away.pop(0)

    monkeypatch.setattr(ray_executor, "_GROW_EVERY_S", 0.0)
    notes: list[str] = []
    executor = RayExecutor(devices=Devices.on("nano"), each=ONE, notice=notes.append)
    while Devices.away:
        assert executor.capacity >= 0  # each look at it asks once for the host
    assert executor.close() == []
    assert [note for note in notes if "host" in note] == [
        "the host of the device is gone, measurements wait: no node has the resource 'nano'",
        "the host of the device is back",
    ]


def test_trials_in_the_queue_of_the_device_are_not_silent(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Meter:
        measure = ray.remote(lambda architecture, cache, num_classes, scale: time.sleep(60))

    devices = ClusterDevices("bench", {}, {"cpu": Meter})
    monkeypatch.setattr(ray_executor, "_SIGN_OF_LIFE_S", 0.0)
    executor = RayExecutor(devices=devices, each=ONE)
    executor.start(_request(7, next(iter(FEW)), tmp_path))
    assert executor.events(timeout_s=0.0) == [Progressed(number=7, progress=Progress(phase="measure"))]
    assert executor.close() == []


def test_another_actor_measures_what_waited_behind_one_that_hangs(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = FEW

    class Meter:
        def __init__(self, device: str) -> None: ...

        def is_there(self) -> bool:
            return True

        def measure(self, architecture: Architecture, cache: str, **_: object) -> YoloRetError:
            if architecture == first:
                time.sleep(3600)
            return YoloRetError("it was measured")

    monkeypatch.setattr(devices, "Meter", Meter)
    executor = RayExecutor(devices=ClusterDevices.on("bench"), each=ONE)
    executor.start(_request(7, first, tmp_path))
    executor.start(_request(8, second, tmp_path))
    assert [event.number for event in executor.events(timeout_s=1.0)] == [7, 8]
    monkeypatch.setattr(executor, "_fill_slots", lambda: None)
    executor.kill(7)
    _await(lambda: bool(executor._waiting), executor)
    (request,) = executor._waiting
    assert (request.number, str(request.measured["cpu"])) == (8, "it was measured")
    assert executor.close() == []


def test_a_measurement_that_hangs_keeps_no_look_up_waiting(
    cluster: Any, chosen: StudySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = FEW

    class Meter:
        def __init__(self, device: str) -> None: ...

        def is_there(self) -> bool:
            return True

        def measure(self, architecture: Architecture, cache: str, **_: object) -> YoloRetError:
            if architecture == first:
                time.sleep(3600)
            return YoloRetError("it was measured")

    monkeypatch.setattr(devices, "Meter", Meter)
    found = ClusterDevices.on("bench")
    executor = RayExecutor(devices=found, each=ONE)
    executor.start(_request(7, first, tmp_path))
    until = time.monotonic() + 120
    with pytest.raises(YoloRetError, match="it was measured"):
        found.measure(second, chosen, num_classes=3, stop_requested=lambda: "now" if time.monotonic() > until else "no")
    assert executor.close() == []


def test_a_network_that_ends_the_measuring_process_is_lost_and_the_next_one_measured(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = FEW

    class Meter:
        def __init__(self, device: str) -> None: ...

        def measure(self, architecture: Architecture, cache: str, **_: object) -> YoloRetError:
            if architecture == first:
                os.kill(os.getpid(), signal.SIGKILL)
            return YoloRetError("it was measured")

    monkeypatch.setattr(devices, "Meter", Meter)
    executor = RayExecutor(devices=ClusterDevices.on("bench"), each=ONE)
    monkeypatch.setattr(executor, "_fill_slots", lambda: None)
    executor.start(_request(7, first, tmp_path))
    executor.start(_request(8, second, tmp_path))
    lost: list[Lost] = []
    until = time.monotonic() + 120
    while not executor._waiting:
        assert time.monotonic() < until
        lost += [event for event in executor.events(timeout_s=1.0) if isinstance(event, Lost)]
    assert [event.number for event in lost] == [7]
    assert lost[0].reason.startswith("the process that measured it on cpu ended: ")
    assert [(request.number, str(request.measured["cpu"])) for request in executor._waiting] == [(8, "it was measured")]
    assert executor.close() == []


def test_an_interrupted_search_ends_at_once_and_is_resumed(cluster: Any, chosen: StudySettings) -> None:
    stopped = list[bool]()
    view = ActingView(lambda: stopped.append(True))
    executor, outcome = _search(chosen, view, stop_requested=lambda: "now" if stopped else "no")
    assert outcome.ending == "interrupted"
    assert executor.close() == []
    _, again = _search(chosen, RecordingView())
    assert [record.result.state for record in again.summary.records] == ["complete"] * 4


def test_an_interrupted_full_training_goes_on_after_its_last_whole_epoch(cluster: Any, root: Path) -> None:
    train = TrainSettings(epochs=1000)
    settings = ExperimentSettings(
        name="full", dataset="shapes:train=8,val=4,size=64", device="cpu", train=train, root=root
    )

    def train_to(epoch: int) -> list[int]:
        view, found = RecordingView(), ClusterDevices.on("bench")

        def epochs() -> list[int]:
            return [progress.epoch for _, progress in view.progress if progress.phase == "train"]

        run_experiment(
            settings,
            [Variant(label="one", architecture=next(iter(FEW)))],
            executor=RayExecutor(devices=found, each=ONE, workers=1),
            devices=found,
            view=view,
            stop_requested=lambda: "now" if max(epochs(), default=0) >= epoch else "no",
        )
        return epochs()

    root.mkdir(exist_ok=True)
    first = train_to(3)
    assert (settings.trial_folder(0) / LAST_FILE).is_file()
    assert train_to(1)[0] >= first[-1] >= 3


def test_one_more_slot_waits_than_fit_so_that_the_autoscaler_is_told(cluster: Any) -> None:
    executor = RayExecutor(devices=ClusterDevices.on("bench"), each=ONE)
    _await(lambda: executor.capacity == 3, executor)  # two slots, and one trial that is measured meanwhile
    actors = ray._private.state.actors().values()
    states = [actor["State"] for actor in actors if actor["ActorClassName"] == "Slot" and actor["State"] != "DEAD"]
    assert sorted(states) == ["ALIVE", "ALIVE", "PENDING_CREATION"]
    assert executor.close() == []


def test_a_host_that_does_not_answer_is_an_error_of_the_cluster(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_PLACING_S", 0.0)
    with pytest.raises(ClusterError, match=r"the host of device cpu \(bench\) did not answer within 0 s"):
        ClusterDevices.on("bench").meter("cpu")


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
