"""`yoloret_nas.measure`: a network's latency, from Python."""

from contextlib import closing
from pathlib import Path

from trials.latency import Latency
from trials.latency.comparison import measure_model
from trials.latency.open_device import open_device
from yoloret_nas.options.values import check_at_least
from yoloret_nas.sources import Network, find_model


def measure(network: Network, *, device: str = "cpu", classes: int = 20, dir: str | Path = "runs") -> Latency:
    """Measure the latency of one network on one device, now.

    It is `yoloret-nas latency`, which takes several of both.

    Args:
        network: A preset (``yoloret-m0.75``), a YAML or JSON file of one architecture, ``STUDY:TRIAL``, ``STUDY`` for the
            knee of its front, an export's folder or one of its files, a trial's ``checkpoint.pt``, any other file of
            ONNX or OpenVINO, or an `Architecture`.
        device: ``cpu``, ``cpu:threads=N``, ``cuda``, ``cuda:N``, ``ssh://host``.
        classes: Classes of a network that was never trained; a trained one has its own.
        dir: Folder of the studies.

    Returns:
        The measurement: ``median_ms``, ``p90_ms``, ``p99_ms``, ``spread``, ``samples_ms``, and the ``device`` it is of.

    Raises:
        YoloRetError: the text names no network or no device, the device is away, busy or unsteady, or it cannot run the
            network.
    """
    check_at_least(1, classes=classes)
    model, num_classes = find_model(network, root=Path(dir).expanduser(), classes=classes)
    with closing(open_device(device, patience_s=0)) as opened:
        return measure_model(opened, model, num_classes=num_classes)
