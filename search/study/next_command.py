"""Commands that the user is told to type next."""

import shlex
from pathlib import Path


def dir_option(root: Path) -> str:
    """Return ``--dir`` for the folder of the studies, quoted for a shell, with a space before; empty for the default."""
    return "" if root == Path("runs") else f" --dir {shlex.quote(str(root))}"


def trial_commands(study: str, number: int, *, root: Path, has_weights: bool) -> tuple[str, ...]:
    """Return the commands that export a complete trial and that draw its boxes on an image.

    Without weights there are no boxes, and it is trained again before its export.

    Args:
        study: Name of the study or experiment.
        number: Of the trial.
        root: Folder of the studies.
        has_weights: Whether those of its training were kept.
    """
    name, here = shlex.quote(study), dir_option(root)
    if not has_weights:
        return (f"yoloret-nas export --study {name} --trial {number} --refit EPOCHS{here}",)
    return (
        f"yoloret-nas export --study {name} --trial {number}{here}",
        f"yoloret-nas predict {name}:{number} IMAGE.jpg{here}",
    )
