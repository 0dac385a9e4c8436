"""A search in the terminal: live on a terminal, plain lines in a file or pipe."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.front.record import TrialRecord
from search.front.summary import Summary
from spaces import Architecture
from spaces.counted import counted
from trials.progress import Progress
from yoloret_nas.terminal.trial_lines import front_table, header_line, trial_line

_FRONT_ROWS = 8


class LiveView:
    """Shows a search on a console."""

    _resuming = "resuming the study"
    _unit = "trial(s)"
    _shows_front = True

    def __init__(self, console: Console) -> None:
        self._console = console
        self._running: dict[int, tuple[Architecture, Progress]] = {}
        self._summary: Summary | None = None
        self._budget = 0
        self._began = time.monotonic()
        self._began_with = 0
        self._ending = ""
        self._decoded = (0, 0)

    @contextmanager
    def showing(self) -> Iterator["LiveView"]:
        """Show the live part at the bottom of a terminal while the block runs."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(console=self._console, refresh_per_second=4, get_renderable=self._render, transient=True):
            yield self

    @property
    def is_open(self) -> bool:
        """Whether the study is open, so that trials can run."""
        return self._summary is not None

    def checking_images(self, done: int, whole: int) -> None:
        """Show how many images are decoded; without a live part, say once that it takes its time."""
        self._decoded = (done, whole)
        if not done and not self._console.is_terminal:
            self.noticed(f"decoding {counted(whole, 'image(s)')} once, to find broken ones before the first trial")

    def opened(self, summary: Summary, *, budget: int) -> None:
        """Print the columns and the finished trials."""
        self._summary, self._budget = summary, budget
        self._began, self._began_with = time.monotonic(), len(summary.records)
        front = {record.number for record in summary.front}
        if summary.records:
            self._print(Text(f"{self._resuming}: {counted(len(summary.records), f'{self._unit} is|are')} finished"))
        self._print(header_line(self._console.width))
        for record in summary.records:
            self._print(trial_line(record, on_front=record.number in front, width=self._console.width))

    def started(self, number: int, architecture: Architecture) -> None:
        """Show a running trial."""
        self._running[number] = (architecture, Progress(phase="build"))

    def progressed(self, number: int, progress: Progress) -> None:
        """Show its progress."""
        architecture, before = self._running[number]
        if progress.phase == "score" and progress.loss is None and number >= 0:
            progress = Progress(
                phase="score", epoch=before.epoch, num_epochs=before.num_epochs, loss=before.loss, ap=before.ap
            )
        self._running[number] = (architecture, progress)

    def finished(self, record: TrialRecord, summary: Summary) -> None:
        """Print its line."""
        self._running.pop(record.number, None)
        self._summary = summary
        on_front = record.number in {one.number for one in summary.front}
        self._print(trial_line(record, on_front=on_front, width=self._console.width))

    def put_back(self, number: int) -> None:
        """Stop showing it."""
        self._running.pop(number, None)

    def noticed(self, message: str) -> None:
        """Print a note."""
        self._print(Text(f"note: {message}", style="yellow"))

    def say_ending(self, message: str) -> None:
        """Print what an interrupt will do: below the live part, or on the error stream without one."""
        self._ending = message
        if not self._console.is_terminal:
            click.echo(message, err=True)

    def _print(self, text: Text) -> None:
        if self._console.is_terminal:
            # Of a text alone the console forgets whether it wraps.
            self._console.print(text, no_wrap=text.no_wrap, overflow=text.overflow, crop=True)
        else:
            self._console.print(text.plain, markup=False, highlight=False, soft_wrap=True)

    def _render(self) -> RenderableType:
        summary = self._summary
        if summary is None:
            return self._render_opening()
        done = len(summary.records)
        states = ", ".join(f"{count} {state}" for state, count in summary.states.items())
        head = Table.grid(padding=(0, 2))
        head.add_row(
            ProgressBar(total=self._budget, completed=min(done, self._budget), width=30),
            Text(f"{done}/{counted(self._budget, self._unit)}"),
            Text(f"{_clock(time.monotonic() - self._began)} elapsed, {self._time_left(done)}"),
            *([Text(f"hypervolume {summary.hypervolume:.4f}", style="bold")] if self._shows_front else []),
            Text(states, style="dim"),
        )
        running = [_running_line(number, *pair) for number, pair in self._running.items()]
        parts: list[RenderableType] = [Text(""), head, *running]
        if summary.front and self._shows_front:
            title = f"front ({counted(len(summary.front), 'member(s)')})"
            table = front_table(summary, knee=None, title=title, limit=_FRONT_ROWS, width=self._console.width)
            parts.append(table)
        if self._ending:
            parts.append(Text(self._ending, style="bold yellow"))
        return Group(*parts)

    def _render_opening(self) -> RenderableType:
        done, whole = self._decoded
        if self._ending or done == whole:
            return Text(self._ending or "opening the study …", style="bold yellow" if self._ending else "dim")
        line = Table.grid(padding=(0, 2))
        line.add_row(ProgressBar(total=whole, completed=done, width=30), Text(f"{done}/{whole} images decoded"))
        return line

    def _time_left(self, done: int) -> str:
        new = done - self._began_with
        if new < 2:
            return f"time left known after {counted(2, self._unit)}"
        left = (time.monotonic() - self._began) / new * max(0, self._budget - done)
        return f"about {_clock(left)} left"


def _running_line(number: int, architecture: Architecture, progress: Progress) -> Text:
    if number < 0:
        return _shared_line(progress)
    words = {"build": "building", "measure": "measuring latency", "score": "scoring", "train": "training"}
    text = Text(f"▶ trial {number}: {words[progress.phase]}", style="cyan", no_wrap=True, overflow="ellipsis")
    if progress.epoch:
        text.append(f", epoch {progress.epoch}/{progress.num_epochs}")
        if progress.num_steps and progress.phase == "train":
            text.append(f" step {progress.step}/{progress.num_steps}")
        if progress.loss is not None:
            text.append(f", loss {progress.loss:.3f}")
        if progress.ap is not None:
            text.append(f", AP {progress.ap:.4f}")
    return text.append(f"  {architecture.short}", style="dim")


def _shared_line(progress: Progress) -> Text:
    """Return the line of what comes before the first trial: shared weights are trained, and networks scored."""
    if progress.phase == "score":
        words = f"scoring networks, {progress.step}/{progress.num_steps}"
    elif progress.epoch:
        words = f"training, epoch {progress.epoch}/{progress.num_epochs} step {progress.step}/{progress.num_steps}"
    else:
        words = "building"
    loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
    return Text(f"▶ shared weights: {words}{loss}", style="cyan", no_wrap=True, overflow="ellipsis")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
