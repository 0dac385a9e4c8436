"""One trained network, from Python: its figures, its export, its detections."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, Unpack, get_args

from search.front.record import TrialRecord, trial_folder
from search.study.errors import StudyError
from search.study.experiment import read_study_or_experiment
from spaces import Architecture
from trials.latency import Latency
from trials.onnx.suppressed import Suppression
from trials.training import CHECKPOINT_FILE
from yoloret_nas.api.detector import Detector, load
from yoloret_nas.api.write_export import write_export
from yoloret_nas.export.export_options import ExportOptions, Format
from yoloret_nas.export.precisions import PRECISIONS, Precision
from yoloret_nas.options.data import as_typed
from yoloret_nas.options.values import OptionError, check_at_least, check_choice, check_folder, to_words
from yoloret_nas.terminal.console import open_console


class ExportWords(TypedDict, total=False):
    """The options of `yoloret-nas export` for one trial; each may be left out."""

    format: Sequence[Format]
    """Formats of its files: ``onnx``, which is always written, ``openvino``, ``engine``."""
    precision: Sequence[Precision]
    """Number formats of its files: ``fp32``, which is always written, ``fp16``, ``int8``."""
    nms: tuple[float, float]
    """Also writes a file with non-maximum suppression: smallest score and largest IoU, as 0.25 and 0.5."""
    device: str
    """The device it is for, instead of the study's (`--for`): ``cpu``, ``cuda``, ``ssh://host``."""
    refit: int
    """Epochs of a full training of its architecture before it is exported; called again, it resumes."""
    data: str | Path
    """Images to try it on and to calibrate INT8 with, instead of the study's, where AP must be the trial's."""
    skip_broken: bool
    """Whether broken images and annotations are left out instead of stopping; False by default."""
    weights_dir: str | Path
    """Folder of ImageNet weights, searched before any download, for the full training."""
    check: bool
    """Whether it is tried on images; True by default (`--no-check` is False)."""
    measure: bool
    """Whether the latency of its files is measured; True by default (`--no-measure` is False)."""
    register: str
    """Also registers it in MLflow's registry under this name."""
    force: bool
    """Whether an export that is there already is replaced; False by default."""


class Trial:
    """A finished trial of a study, or a full training.

    Args:
        study: Name of the study.
        record: What the study holds of it.
        root: Folder of the studies.
    """

    def __init__(self, *, study: str, record: TrialRecord, root: Path) -> None:
        self.study = study
        self._record, self._root = record, root

    @property
    def number(self) -> int:
        """Its number in the study, from 0."""
        return self._record.number

    @property
    def architecture(self) -> Architecture:
        """The network's description, which `yoloret_nas.train` and `yoloret_nas.measure` take."""
        return self._record.architecture

    @property
    def state(self) -> str:
        """How it ended: ``complete``, ``pruned``, ``infeasible`` or ``failed``."""
        return self._record.result.state

    @property
    def reason(self) -> str:
        """Why it is not complete; empty if it is."""
        return self._record.result.reason

    @property
    def ap(self) -> float | None:
        """AP@[.5:.95] on the validation images, 0 to 1; None without a score."""
        return self._record.result.ap

    @property
    def ap50(self) -> float | None:
        """AP at IoU 0.5."""
        return self._record.result.ap50

    @property
    def per_class_ap(self) -> Mapping[str, float]:
        """AP@[.5:.95] of each class."""
        return self._record.result.per_class_ap

    @property
    def latency(self) -> Latency | None:
        """Its latency on the study's device: ``median_ms``, ``p99_ms``, samples; None where it was not measured."""
        return self._record.result.latency

    @property
    def seconds(self) -> Mapping[str, float]:
        """What its time was spent on."""
        return self._record.result.seconds

    @property
    def checkpoint(self) -> Path:
        """The file of its weights, which a trial of the front has, and every complete one where the search keeps all."""
        return trial_folder(self._root / self.study, self.number) / CHECKPOINT_FILE

    def load(self) -> Detector:
        """Return it as a detector, as its export would be."""
        return load(f"{self.study}:{self.number}", dir=self._root)

    def export(self, out: str | Path | None = None, **options: Unpack[ExportWords]) -> Path:
        """Write it as a folder that runs without this project, as `yoloret-nas export` does.

        Args:
            out: The folder; None for ``exports/STUDY-TRIAL``.
            options: See `ExportWords`.

        Returns:
            The folder, which `yoloret_nas.load` takes.

        Raises:
            YoloRetError: the folder exists, the trial is not complete, its full training failed, or the files do not compute
                what the network does.
            KeyboardInterrupt: its full training was interrupted.
        """
        if self._record.point is None:
            raise StudyError(f"trial {self.number} of {self.study} is {self.state}: {self.reason}")
        opened = read_study_or_experiment(self._root, self.study)
        return write_export(
            opened,
            self._record,
            None if out is None else Path(out).expanduser(),
            _to_options(options),
            refit=options.get("refit"),
            register=options.get("register"),
            console=open_console(),
        ).folder

    def __repr__(self) -> str:
        """Say what it is in one line."""
        figures = self.state if self._record.point is None else "AP {:.4f}, {:.3f} ms".format(*self._record.point)
        return f"<trial {self.study}:{self.number}: {figures}, {self.architecture.short}>"


def _to_options(words: ExportWords) -> ExportOptions:
    known = ExportWords.__annotations__
    if unknown := sorted(words.keys() - known.keys()):
        raise OptionError(f"export has no option {unknown[0]!r}; it has {', '.join(known)}")
    check_at_least(1, refit=words.get("refit"))
    formats, precisions = to_words(words.get("format", ())), to_words(words.get("precision", ()))
    for name, given, allowed in (("format", formats, get_args(Format)), ("precision", precisions, tuple(PRECISIONS))):
        for one in given:
            check_choice(name, one, allowed)
    thresholds, data, weights_dir = words.get("nms"), words.get("data"), words.get("weights_dir")
    if data is not None and not words.get("check", True) and "int8" not in precisions:
        raise OptionError("data names images to try it on, or to calibrate INT8 with; leave out check=False")
    folder = None if weights_dir is None else Path(weights_dir).expanduser()
    check_folder("weights_dir", folder)
    if folder is not None and "refit" not in words:
        raise OptionError("weights_dir is of a full training before the export; add refit=EPOCHS")
    return ExportOptions(
        formats=formats or ("onnx",),  # type: ignore[arg-type]  # both are of words that were checked
        precisions=precisions or ("fp32",),  # type: ignore[arg-type]
        suppression=None if thresholds is None else _to_suppression(thresholds),
        device=words.get("device"),
        data=None if data is None else as_typed(data),
        skip_broken=words.get("skip_broken", False),
        weights_dir=folder,
        is_checked=words.get("check", True),
        is_measured=words.get("measure", True),
        replace=words.get("force", False),
    )


def _to_suppression(thresholds: tuple[float, float]) -> Suppression:
    try:
        score, iou = thresholds
        return Suppression(score_threshold=score, iou_threshold=iou)
    except (TypeError, ValueError) as error:
        raise OptionError(f"nms is {thresholds}; it must be two numbers from 0 to 1, (0.25, 0.5)") from error
