"""A new study's space is refused before anything is recorded, if the device's TensorRT does not take its networks."""

from collections.abc import Callable

from search.driver.devices import Devices
from search.study.settings import StudySettings
from spaces.counted import counted
from spaces.named_spaces import is_named
from spaces.space import SpaceError

_HINT = "leave these choices out of a file of your own: yoloret-nas space {name} --yaml > my.yaml"
_HINT_OWN = "leave these choices out of the space's file"


def refuse_space(settings: StudySettings, *, devices: Devices, num_classes: int, notice: Callable[[str], None]) -> None:
    """Check a few networks that together have every choice of the space; do nothing on a device without TensorRT.

    Args:
        settings: The study.
        devices: Has its device.
        num_classes: Classes of its detectors.
        notice: Called with a note for the user.

    Raises:
        SpaceError: the device's TensorRT refuses some of them; the message names the choices and the reason.
        DeviceError: the device cannot be reached.
    """
    verdict = devices.judge(settings, num_classes=num_classes)
    if verdict is None:
        return
    report = verdict.report
    num_judged = len(report.taken) + len(report.refused)
    if report.refused:
        _, reason = report.refused[0]
        which = f"those with {' or '.join(report.culprits)}" if report.culprits else "among them the first"
        raise SpaceError(
            f"space {settings.space.name!r}: {settings.device} refuses {len(report.refused)} of "
            f"{counted(num_judged, 'network(s)')} that together have all its choices, {which}: {reason}",
            hint=_HINT.format(name=settings.space.name) if is_named(settings.space) else _HINT_OWN,
        )
    notice(
        f"{settings.device} takes the space: asked about {counted(num_judged, 'network(s)')} with all its choices: "
        f"{verdict.judge}"
    )
