"""A real search whose trainings and latencies are read from a table: `run_search` with its study, sampler and reports.

Only the network is a stand-in. Each row of the table gets one architecture of a space of the same shape: an axis of the
table becomes an axis of the space. What the search computes from the architecture itself, multiply-adds and parameters,
therefore belongs to another network: on YOLOBench's table the logarithms of these multiply-adds and of the Nano's latency
correlate by 0.56 only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from search.driver.devices import LocalDevices
from search.driver.executor import Event, Finished
from search.driver.interruption import StopRequest
from search.driver.search import run_search
from search.driver.view import View
from search.front.pareto import FloatArray, IntArray
from search.front.record import TrialRecord
from search.front.summary import Summary
from search.study.settings import RunSettings, StudySettings
from spaces import Architecture
from spaces.space import BackboneChoice, Space
from trials.latency import DeviceIdentity, Latency
from trials.progress import Progress
from trials.training import TrainSettings
from trials.trial_result import TrialRequest, TrialResult

_BACKBONES = (
    "mobilenetv2_035",
    "mobilenetv2_050",
    "mobilenetv2_075",
    "efficientnet_lite0",
    "mobilenetv2_100",
    "efficientnet_b0",
    "mobilenetv2_140",
)
_TRUNCATIONS = (14, 15, 16)
_HEAD_WIDTHS = (32, 64, 96, 128)
_OTHER_SEED = 1000
TABLE_IDENTITY = DeviceIdentity(kind="cpu", board="a table", backend="none", precision="none", settings={})


@dataclass(frozen=True, kw_only=True)
class Table:
    """Finished trainings of a full grid of four axes."""

    codes: IntArray
    """(N, 4) position of each row on each axis: up to 7 kinds without an order, 3 depths, 4 widths, input sizes from 160 px
    in steps of 32 px."""
    ap: FloatArray
    """(N,) true AP."""
    latency_ms: FloatArray
    """(N,) measured."""

    def space(self) -> Space:
        """Return the space whose architectures stand for the rows."""
        kinds, *_, sizes = (np.unique(self.codes[:, axis]).tolist() for axis in range(4))
        return Space(
            name="table",
            description="Stands for the rows of a table.",
            backbones={_BACKBONES[kind]: BackboneChoice(truncation=_TRUNCATIONS) for kind in kinds},
            axes={
                "scale_set": ("none",),
                "head_width": _HEAD_WIDTHS,
                "input_size": tuple(160 + 32 * size for size in sizes),
            },
        )

    def rows(self) -> dict[str, int]:
        """Return the row of each architecture, by its key."""
        places = {tuple(code): row for row, code in enumerate(self.codes.tolist())}
        return {one.key: places[_codes_of(one)] for one in self.space()}


def search_table(
    table: Table,
    *,
    training_s: float,
    num_trainings: int,
    max_latency_ms: float | None,
    noise: float,
    seed: int,
    earlier_ap: FloatArray | None = None,
) -> tuple[list[int], int]:
    """Search until so many rows are trained.

    Args:
        table: What trainings and measurements return.
        training_s: Duration of each training, which decides how many latencies are looked up; a look-up takes no time.
        num_trainings: Complete trials to stop after.
        max_latency_ms: The user's limit; None for none.
        noise: Standard deviation of the noise on AP.
        seed: Of the search and of the noise.
        earlier_ap: (N,) AP of the rows on other data: a study of 50 trainings of them, another seed and no limit is the
            search's prior. None for no prior.

    Returns:
        The trained rows in their order, and the number of latencies that were measured.
    """
    settings = StudySettings(
        name="table",
        dataset="shapes:train=1,val=1,test=1",
        device="cpu",
        train=TrainSettings(),
        space=table.space(),
        budget=table.space().size,
        max_latency_ms=max_latency_ms,
        seed=seed,
    )
    with TemporaryDirectory() as folder:
        settings = replace(settings, root=Path(folder))
        if earlier_ap is not None:
            earlier = replace(settings, name="earlier", max_latency_ms=None, seed=seed + _OTHER_SEED)
            _search(earlier, replace(table, ap=earlier_ap), training_s=training_s, num_trainings=50, noise=noise)
            settings = replace(settings, prior=("earlier",))
        return _search(settings, table, training_s=training_s, num_trainings=num_trainings, noise=noise)


def _search(
    settings: StudySettings, table: Table, *, training_s: float, num_trainings: int, noise: float
) -> tuple[list[int], int]:
    """Run one search; see :func:`search_table`."""
    rows = table.rows()
    random = np.random.default_rng([settings.seed, 1])
    executor = _TableExecutor(table=table, rows=rows, training_s=training_s, noise=noise, random=random)
    measured: set[str] = set()

    class TableDevices(LocalDevices):
        def reach(self, settings: RunSettings) -> DeviceIdentity:
            return TABLE_IDENTITY

        def measure(
            self, architecture: Architecture, settings: StudySettings, *, num_classes: int, **_: Any
        ) -> Latency:
            measured.add(architecture.key)
            return Latency(samples_ms=(float(table.latency_ms[rows[architecture.key]]),), device=TABLE_IDENTITY)

    def stop_requested() -> StopRequest:
        return "finish" if len(executor.trained) >= num_trainings else "no"

    run_search(settings, executor=executor, devices=TableDevices(), view=no_view(), stop_requested=stop_requested)
    return executor.trained, len(measured | executor.started)


@dataclass(kw_only=True)
class _TableExecutor:
    """Ends each trial at once with the figures of its row."""

    table: Table
    rows: dict[str, int]
    training_s: float
    noise: float
    random: np.random.Generator
    trained: list[int] = field(default_factory=list)
    started: set[str] = field(default_factory=set)
    capacity: int = 1
    _events: list[Event] = field(default_factory=list)

    def start(self, request: TrialRequest) -> None:
        row = self.rows[request.architecture.key]
        self.started.add(request.architecture.key)
        latency = Latency(samples_ms=(float(self.table.latency_ms[row]),), device=TABLE_IDENTITY)
        if request.max_latency_ms is not None and latency.median_ms > request.max_latency_ms:
            result = TrialResult(state="infeasible", reason="over the limit", latency=latency)
        else:
            self.trained.append(row)
            ap = float(self.table.ap[row] + self.noise * self.random.standard_normal())
            seconds = {"measure": 1.0, "train": self.training_s}
            result = TrialResult(state="complete", latency=latency, ap=ap, seconds=seconds)
        self._events.append(Finished(number=request.number, result=result))

    def events(self, *, timeout_s: float) -> Sequence[Event]:
        events, self._events = self._events, []
        return events

    def answer(self, number: int, *, go_on: bool) -> None:
        raise AssertionError("a trial of a table reports no progress")

    def withdraw(self) -> Sequence[int]:
        return ()

    def kill(self, number: int) -> None:
        raise AssertionError("a trial of a table ends at once")

    def close(self) -> Sequence[Finished]:
        return ()


def no_view() -> View:
    """Return a view that shows nothing."""
    return _NoView()


class _NoView:
    def checking_images(self, done: int, whole: int) -> None: ...
    def opened(self, summary: Summary, *, budget: int) -> None: ...
    def started(self, number: int, architecture: Architecture) -> None: ...
    def progressed(self, number: int, progress: Progress) -> None: ...
    def finished(self, record: TrialRecord, summary: Summary) -> None: ...
    def put_back(self, number: int) -> None: ...
    def noticed(self, message: str) -> None: ...


def _codes_of(architecture: Architecture) -> tuple[int, int, int, int]:
    return (
        _BACKBONES.index(architecture.backbone),
        _TRUNCATIONS.index(architecture.truncation),
        _HEAD_WIDTHS.index(architecture.head_width),
        (architecture.input_size - 160) // 32,
    )
