"""Trainings in the terminal: a line for each scored epoch, running trainings below."""

from rich.text import Text

from spaces import Architecture
from trials.progress import Progress
from yoloret_nas.terminal.live_view import LiveView


class TrainingView(LiveView):
    """Shows an experiment on a console."""

    _resuming = "resuming"
    _unit = "training(s)"
    _shows_front = False

    def started(self, number: int, architecture: Architecture) -> None:
        """Print what starts."""
        super().started(number, architecture)
        self._print(Text(f"training {number}: {architecture.short}", style="bold"))

    def progressed(self, number: int, progress: Progress) -> None:
        """Print a latency, and each scored epoch."""
        super().progressed(number, progress)
        if progress.latency_ms is not None:
            self._print(Text(f"training {number}: {progress.latency_ms:.3f} ms"))
        if progress.ap is not None:
            epoch = f"epoch {progress.epoch:>{len(str(progress.num_epochs))}}/{progress.num_epochs}"
            figures = f"loss {progress.loss:.4f}  AP {progress.ap:.4f}  AP50 {progress.ap50 or 0.0:.4f}"
            self._print(Text(f"training {number}: {epoch}  {figures}"))
