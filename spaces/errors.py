"""The root of the project's exceptions.

Each class below the root is defined where it is raised::

    YoloRetError                 message and hint; the command line prints both
    ├── ArchitectureError        spaces.scale_set      a description that names no network
    ├── SpaceError               spaces.space          a space, or its file, that makes no sense
    ├── DownloadError            spaces.download       a file cannot be fetched, or is another
    ├── WeightsError             spaces.weights.imagenet        pretrained weights that cannot be had
    ├── DatasetError             trials.data.dataset        a dataset or one of its items is broken
    ├── DeviceError              trials.latency.device         a device cannot be reached or used
    │   ├── DeviceAwayError      trials.latency.device         a device stayed out of reach after all patience
    │   ├── DiskFullError        trials.latency.board.session    a board has no room for a measurement
    │   ├── UnknownDeviceError   trials.latency.device         a text names no device
    │   └── UnstableError        trials.latency.device         a device gives no steady latency
    ├── TrainingError            trials.training.errors NaN loss, out of memory
    ├── UnsupportedNetworkError  trials.onnx.requirements      a version of TensorRT cannot take an ONNX file
    ├── ExportError              trials.onnx.export    ONNX cannot be written or disagrees with PyTorch
    └── StudyError               search.study.errors    a study cannot be opened or continued

Those that are also a `ValueError` say that what the user gave is wrong: the command line ends with 2 for them, 1 for others.
"""


class YoloRetError(Exception):
    """What went wrong in one sentence, and what to do about it in another.

    Args:
        message: Names the thing, the value received and what is allowed.
        hint: The way out; empty where there is none.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the hint: errors cross process borders with their trials."""
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(kind: type[YoloRetError], message: str, hint: str) -> YoloRetError:
    return kind(message, hint=hint)
