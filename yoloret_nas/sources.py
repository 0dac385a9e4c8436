"""How a user names a network: a preset, a file, a trial of a study, an export."""

import os.path
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from search.front.record import TrialRecord
from search.strategy.accuracy.estimates import with_estimates
from search.study.experiment import read_experiment
from search.study.read_study import read_study, study_names
from search.study.selection import select_trial
from spaces import Architecture, YoloRetError
from spaces.documents import parse_yaml
from spaces.presets import PRESETS
from trials.onnx import run
from trials.onnx.export import DEFAULT_OPSET
from trials.scratch import temporary_folder
from trials.training import CHECKPOINT_FILE, TrainingError, read_checkpoint
from trials.trial_result import ARCHITECTURE_FILE
from yoloret_nas.export.bundle import DETECTOR_FILE, RUN_FILE, count_classes, open_bundle, write_detector
from yoloret_nas.options.networks import FORMS

Network = str | Path | Architecture
"""How a network is named from Python: as on the command line, or by its architecture."""

_EXPORTED = (".onnx", ".xml")
_ENGINE = ".engine"
_OF_FILES = (*_EXPORTED, _ENGINE, ".pt", ".yaml", ".yml", ".json")


class SourceError(YoloRetError, ValueError):
    """A text names no network, or none with weights."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A named network."""

    label: str
    """Short name for tables."""
    architecture: Architecture
    folder: Path | None = None
    """Folder of its `checkpoint.pt`; None if it was never trained."""
    file: Path | None = None
    """The file of an export that stands for it; None for its checkpoint."""
    record: TrialRecord | None = None
    """The trial it is."""

    @property
    def checkpoint(self) -> Path:
        """The file of its weights.

        Raises:
            SourceError: there is none.
        """
        if self.folder is None or not (self.folder / CHECKPOINT_FILE).is_file():
            where = f"{self.folder} holds no {CHECKPOINT_FILE}" if self.folder else "it is only an architecture"
            hint = "train it: yoloret-nas train … --data …"
            if self.record is not None:
                hint = (
                    f"train it: yoloret-nas train {self.label} --data …; a search keeps the weights of its front, with "
                )
                hint += "--keep all those of all trials"
            raise SourceError(f"{self.label} has no trained weights: {where}", hint=hint)
        return self.folder / CHECKPOINT_FILE

    @property
    def num_classes(self) -> int | None:
        """Classes of its weights or its export, or of another trial's weights in its study; None where nothing tells."""
        if self.folder is None:
            return None
        if (self.folder / CHECKPOINT_FILE).is_file():
            return len(read_checkpoint(self.folder / CHECKPOINT_FILE).decoding.class_names)
        if (self.folder / DETECTOR_FILE).is_file():
            return count_classes(self.folder)
        others = self.folder.parent.glob(f"*/{CHECKPOINT_FILE}") if self.record is not None else ()
        for path in sorted(others):
            with suppress(
                TrainingError, FileNotFoundError
            ):  # of a trial that nobody named; a search may just delete it
                return len(read_checkpoint(path).decoding.class_names)
        return None


@contextmanager
def open_detector(
    text: str, *, root: Path, notice: Callable[[str], None] = lambda message: None
) -> Iterator[run.Detector]:
    """Open an export or one of its files, or a trained network as an export would be.

    Args:
        text: As for `find_source`.
        root: Folder of the studies.
        notice: Called with a note for the user.

    Raises:
        BundleError: the folder is not an export.
        SourceError: the text names nothing, or nothing trained.
    """
    text = os.path.expanduser(text)
    if os.path.isfile(os.path.join(text, DETECTOR_FILE)):
        yield open_bundle(Path(text))
        return
    try:
        source = find_source(text, root=root)
    except SourceError:
        if os.path.isdir(text):
            open_bundle(Path(text))  # says what is missing there
        raise
    if source.file is not None:
        yield open_bundle(source.file.parent, source.file.name)
        return
    study, _, number = text.partition(":")
    if source.record is not None and not number:
        notice(f"{source.label} is the knee of {study}'s front")
    with temporary_folder() as folder:
        write_detector(Path(folder), source.architecture, source.checkpoint, opset=DEFAULT_OPSET)
        yield open_bundle(Path(folder))


def find_source(network: Network, *, root: Path) -> Source:
    """Find the network that a text names.

    Args:
        network: One of the `FORMS`, or an architecture; a study alone means the knee of its front.
        root: Folder of the studies.

    Raises:
        SourceError: the text names nothing.
        ArchitectureError: the file holds no legal architecture.
        StudyError: the study has no such trial.
    """
    if isinstance(network, Architecture):
        return Source(label=network.key, architecture=network)
    text = os.path.expanduser(network)
    path = Path(text)
    if text in PRESETS:
        return Source(label=text, architecture=PRESETS[text])
    if os.path.isfile(path / DETECTOR_FILE):
        return Source(label=path.name, architecture=_read(path / ARCHITECTURE_FILE), folder=path)
    if os.path.isfile(path) and path.suffix in (*_EXPORTED, _ENGINE, ".pt"):
        return _find_beside(path)
    if os.path.isfile(path):
        return Source(label=path.stem, architecture=_read(path))
    study, _, number = text.partition(":")
    if (not number or re.fullmatch("[0-9]{1,9}", number)) and os.path.isdir(root / study):
        opened = read_experiment(root, study) or (read_study(root, study) if study in study_names(root) else None)
        if opened is not None:
            record = select_trial(with_estimates(opened.summary), number=int(number) if number else None)
            return Source(
                label=f"{study}:{record.number}",
                architecture=record.architecture,
                folder=opened.trial_folder(record.number),
                record=record,
            )
    if path.suffix in _OF_FILES and not path.exists():
        raise SourceError(f"there is no file {text}", hint=f"as a network, give {FORMS}")
    raise SourceError(f"{text!r} names no network", hint=f"give {FORMS}; presets are {', '.join(PRESETS)}")


def _find_beside(path: Path) -> Source:
    """Return the network of an export's file or of a checkpoint, by the files that lie beside it."""
    folder, is_exported = path.resolve().parent, path.suffix in _EXPORTED
    if path.suffix == _ENGINE:
        raise SourceError(
            f"{path} is an engine of TensorRT, which runs on the device that built it alone",
            hint=f"there: python3 {path.with_name(RUN_FILE)} IMAGE.jpg --backend tensorrt; here give the file that it was "
            f"built from, such as {path.with_suffix('.onnx')}",
        )
    if not is_exported and path.name != CHECKPOINT_FILE:
        raise SourceError(
            f"{path} names no network: weights are read from a {CHECKPOINT_FILE}",
            hint=f"put it into a folder of its own as {CHECKPOINT_FILE}, beside its {ARCHITECTURE_FILE}",
        )
    needed = (ARCHITECTURE_FILE, DETECTOR_FILE) if is_exported else (ARCHITECTURE_FILE, CHECKPOINT_FILE)
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise SourceError(
            f"{path} names no network: there is no {missing[0]} beside it",
            hint="give a file in the folder of an export, or the checkpoint.pt in a trial's",
        )
    return Source(
        label=f"{folder.name}/{path.name}",
        architecture=_read(folder / ARCHITECTURE_FILE),
        folder=folder,
        file=folder / path.name if is_exported else None,
    )


def find_model(network: Network, *, root: Path, classes: int) -> tuple[Architecture | Path, int]:
    """Find what a latency is measured of: the network that `find_source` finds, or a file of ONNX or OpenVINO.

    Args:
        network: As for `find_source`, or any such file.
        root: Folder of the studies.
        classes: Of a network that was never trained.

    Returns:
        The architecture or the file, and the classes of a network built from the architecture.

    Raises:
        SourceError: as `find_source`.
    """
    path = None if isinstance(network, Architecture) else Path(os.path.expanduser(network))
    if path is not None and os.path.isfile(path) and path.suffix in _EXPORTED:
        return path, classes
    source = find_source(network, root=root)
    return source.architecture, source.num_classes or classes


def _read(path: Path) -> Architecture:
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SourceError(f"{path} cannot be read as YAML or JSON: {error}") from error
    if not isinstance(values, dict):
        raise SourceError(f"{path} holds no architecture", hint="write one with: yoloret-nas export")
    return Architecture.from_dict(values)
