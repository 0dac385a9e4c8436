"""What the Tab key offers for data, studies and networks: folders are listed, no database is opened."""

from pathlib import Path

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from yoloret_nas.options.search import NO_PRIOR

_TRAININGS_FILE = "experiment.json"
"""`search.study.read_study.EXPERIMENT_FILE`, whose module is not imported here: it imports torch."""


def complete_path(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer files and folders; a shell does so by itself only for commands without completions of their own."""
    return [CompletionItem(incomplete, type="file")]


def complete_study(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the studies and trainings in `--dir`."""
    names = sorted(path.parent.name for path in _root(ctx).glob("*/trials"))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_search(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the studies in `--dir`, without trainings."""
    names = complete_study(ctx, parameter, incomplete)
    return [one for one in names if not (_root(ctx) / one.value / _TRAININGS_FILE).is_file()]


def complete_prior(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the studies in `--dir`, and the words that stand for one."""
    words = [CompletionItem(word) for word in ("built-in", NO_PRIOR) if word.startswith(incomplete)]
    return [*complete_search(ctx, parameter, incomplete), *words]


def complete_network(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer what a network can be: a study, an export, a file of an architecture."""
    # bash forgets what came before a file, and offers files where it has nothing else.
    return [*complete_path(ctx, parameter, incomplete), *complete_study(ctx, parameter, incomplete)]


def _root(ctx: click.Context) -> Path:
    for name in ("root", "dir"):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            return Path(ctx.params[name])
    return Path("runs")
