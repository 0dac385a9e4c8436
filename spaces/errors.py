"""The root of the project's exceptions.

Each class below the root is defined where it is raised::

    YoloRetError                     message and hint; the command line prints both
    ├── ArchitectureError            spaces.scale_set                a description that names no network
    ├── SpaceError                   spaces.space                    a space, or its file, that is invalid or empty
    ├── WeightsError                 spaces.weights.imagenet         pretrained weights that are missing or unreadable
    ├── DatasetError                 trials.data.dataset             a dataset or one of its items is broken or missing
    ├── DeviceError                  trials.latency.device           a device cannot be reached or used
    │   ├── DeviceAwayError          trials.latency.device           a device stayed unreachable after all retries
    │   ├── UnstableError            trials.latency.device           a device whose latency does not settle
    │   └── UnusableDeviceError      trials.latency.device           a device that can be used for no network as it is
    │       ├── DiskFullError        trials.latency.board.session    a board has no disk space for a measurement
    │       └── UnknownDeviceError   trials.latency.device           a text that names no device
    ├── LatencyCacheError            trials.latency.cache            the file of measured latencies cannot be used
    ├── OutputError                  trials.detections.decoding      a network whose outputs are NaN or infinite
    ├── TrainingError                trials.training.errors          a training cannot start or continue
    │   ├── DivergedError            trials.training.errors          a loss is NaN or infinite
    │   ├── OutOfMemoryError         trials.training.errors          no memory is left, of the computer or the GPU
    │   └── UnusableCheckpointError  trials.training.errors          no training can be resumed from a checkpoint
    ├── UnsupportedNetworkError      trials.onnx.requirements        an ONNX file that a version of TensorRT cannot run
    ├── DamagedFileError             trials.trial_result             a file that a trial or an experiment wrote is damaged
    ├── ExportError                  trials.onnx.export              ONNX cannot be written or disagrees with PyTorch
    ├── RepeatedFailureError         search.driver.repeated_failure  trials keep failing with one cause
    ├── OutsideFaultError            search.driver.driver            a fault of the data or the machine stops every trial
    ├── ClusterError                 search.cluster.connection       a cluster cannot be reached or run trials
    ├── OneShotError                 search.study.errors             the shared weights of a study cannot be trained
    ├── StorageError                 search.study.errors             a study's database cannot be read or written
    ├── StudyError                   search.study.errors             a study cannot be opened, resumed or read
    │   ├── SpaceExhaustedError      search.study.errors             every architecture of the space was tried
    │   └── TakenOverError           search.study.errors             another process drives the study now
    ├── OptionError                  yoloret_nas.options.values      an option has a value that it does not take
    ├── SourceError                  yoloret_nas.sources             a text that names no network, or none with weights
    ├── BundleError                  yoloret_nas.export.bundle       a folder that is no export, or cannot become one
    └── VideoError                   yoloret_nas.predictions         a video cannot be read

A class that is also a `ValueError` reports wrong input: the command line exits with 2 for it, with 1 for the others.
"""

import re

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, with which a text could steer a terminal, and halves of characters, which UTF-8 cannot write."""


class YoloRetError(Exception):
    """An error with two sentences: what went wrong, and what to do about it.

    Args:
        message: Names the thing, the value received and what is allowed.
        hint: What to do next; empty if there is nothing to suggest.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        message, hint = printable(message), printable(hint)
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")  # Python shows it below the traceback

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the hint, because errors are sent between processes."""
        return _rebuild, (type(self), self.message, self.hint)


def printable(text: str) -> str:
    r"""Return a text in which control characters, except line breaks and tabs, and halves of characters are escaped.

    >>> printable("a\x1b[2Jb\ud800")
    'a\\x1b[2Jb\\ud800'
    """
    return _UNPRINTABLE.sub(lambda match: repr(match[0])[1:-1], text)


def _rebuild(kind: type[YoloRetError], message: str, hint: str) -> YoloRetError:
    return kind(message, hint=hint)
