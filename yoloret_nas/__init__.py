"""Searches for object detectors that are accurate and fast on your own device.

    import yoloret_nas as yr

    study = yr.search(data="my-images", max_latency="5ms")
    study.front                                     # a data frame
    folder = study.full_trainings.best().export()   # of its networks, trained again three times as long
    yr.load(folder).predict("image.jpg")            # a data frame of boxes

The command line does the same with the same words. Nothing heavy is imported before a name is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spaces import Architecture, YoloRetError
    from yoloret_nas.api.detector import Detector, load
    from yoloret_nas.api.measure import measure
    from yoloret_nas.api.search import search
    from yoloret_nas.api.study import Study, open_study
    from yoloret_nas.api.train import train
    from yoloret_nas.api.trial import Trial

__all__ = [
    "Architecture",
    "Detector",
    "Study",
    "Trial",
    "YoloRetError",
    "load",
    "measure",
    "open_study",
    "search",
    "train",
]

_HOMES = {
    "Architecture": "spaces",
    "YoloRetError": "spaces",
    "Detector": "yoloret_nas.api.detector",
    "load": "yoloret_nas.api.detector",
    "measure": "yoloret_nas.api.measure",
    "search": "yoloret_nas.api.search",
    "Study": "yoloret_nas.api.study",
    "open_study": "yoloret_nas.api.study",
    "train": "yoloret_nas.api.train",
    "Trial": "yoloret_nas.api.trial",
}
"""Name to the module that defines it."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("yoloret-nas")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from yoloret_nas.library_settings import quiet_libraries
    from yoloret_nas.shadowed_packages import why_shadowed

    if reason := why_shadowed():
        raise ImportError(reason)
    quiet_libraries()
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
