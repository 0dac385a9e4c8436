"""The command line: finds the command, turns errors into exit codes.

Nothing heavy is imported until a command runs, so that `--help` and bad usage answer at once.
"""

import difflib
import errno
import importlib
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import click

from yoloret_nas.library_settings import quiet_libraries, take_all_letters
from yoloret_nas.project_file import PROJECT_FILE, ProjectFileError, defaults_of, reached_by, read_project_file
from yoloret_nas.shadowed_packages import why_shadowed
from yoloret_nas.terminal.colour import coloured
from yoloret_nas.terminal.hang_up import drop_terminal

COMMANDS = {
    "search": "Search for object detectors that are accurate and fast on your device.",
    "ui": "Open the studies in the MLflow UI.",
    "studies": "List the studies: trials, front, best network, device, data.",
    "report": "Explain a study: which choices mattered, whether more budget may pay.",
    "train": "Train one architecture in full.",
    "eval": "Score a trained network on a dataset.",
    "compare": "Compare networks: accuracy, latency on devices, size.",
    "ablation": "Repeat the paper's ablation, or compare necks, or truncation with width.",
    "transfer-curve": "Repeat the paper's transfer-learning curve.",
    "export": "Write a detector of a study as files that run.",
    "predict": "Draw a trained network's boxes on images and videos.",
    "device": "Check a device: what it is, how steady it is, how to improve it.",
    "latency": "Time networks on one or several devices.",
    "space": "Show a space: its axes, its size, what it excludes and why.",
    "data": "Describe a dataset and draw some of it.",
    "init": "Write a project file with your data, device and limits.",
    "completion": "Let the Tab key complete commands, options and studies.",
}
"""Command, also the module's name under `yoloret_nas.commands`, to its line in the help."""

EXAMPLES = {
    "search": "search --data my-images --device ssh://nano --max-latency 25ms --budget 50",
    "ui": "ui --port 5001",
    "studies": "studies --json",
    "report": "report tiny-shapes-cpu",
    "train": "train yoloret-m0.75 --data my-images --epochs 90",
    "eval": "eval tiny-shapes-cpu:7 --data my-images --split test",
    "compare": "compare yoloret-m0.75 tiny-shapes-cpu:7 --device cpu --data my-images",
    "ablation": "ablation --backbone mobilenetv2_075 --data my-images --seeds 3",
    "transfer-curve": "transfer-curve --backbone mobilenetv2_075 --data my-images",
    "export": "export --study tiny-shapes-cpu --max-latency 5ms --precision fp16,int8",
    "predict": "predict exports/tiny-shapes-cpu-7 photos --score 0.4",
    "device": "device ssh://nano",
    "latency": "latency yoloret-m0.75 tiny-shapes-cpu:7 --device cpu --device ssh://nano",
    "space": "space my.yaml --check 8.2",
    "data": "data my-images",
    "init": "init",
    "completion": "completion bash --install",
}
"""Command to an example, the last line of its help."""

_PROGRAM = "yoloret-nas"
"""However it was started: shells ask for completions by this name."""


class _Commands(click.Group):
    """A group that imports a command's module when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"yoloret_nas.commands.{module}"), module)
        assert isinstance(command, click.Command)
        command.epilog = f"\b\nExample:\n  yoloret-nas {EXAMPLES[cmd_name]}"  # \b: not wrapped
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            ctx.fail(f"No such command {name!r}.{f' Did you mean {near[0]!r}?' if near else ''}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110},
    epilog="Start with:  yoloret-nas search --budget 50",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="yoloret-nas")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Search for object detectors that are accurate and fast on your own device."""
    ctx.obj = {"debug": debug}
    name = str(ctx.invoked_subcommand)
    if (command := cli.get_command(ctx, name)) and reached_by(command):
        ctx.default_map = {name: _project_defaults(command)}


def _project_defaults(command: click.Command) -> dict[str, Any]:
    """Return what the project file gives a command; a file with a fault keeps nobody from a command's help."""
    try:
        return defaults_of(command, read_project_file(Path(PROJECT_FILE)))
    except ProjectFileError:
        if {"-h", "--help"}.isdisjoint(sys.argv):
            raise
        return {}


def main() -> None:
    """Run the command line and end the process: 0 done, 1 the run failed, 2 wrong usage, 130 interrupted, 143 terminated."""
    quiet_libraries()
    _end_on_signals()
    debug = "--debug" in sys.argv
    for stream in (sys.stdout, sys.stderr):
        take_all_letters(stream)
    try:
        if sys.platform != "linux":  # its locks, its leases and its list of usable cores are Linux's
            raise click.ClickException(f"yoloret-nas needs Linux, this is {sys.platform}; on Windows, use WSL")
        if reason := why_shadowed():
            raise click.ClickException(reason)
        sys.exit(cli.main(prog_name=_PROGRAM, standalone_mode=False) or 0)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has gone: nothing is wrong, and nothing more can be printed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        sys.exit(_explain(error, debug=debug))


def _end_on_signals() -> None:
    """Have SIGTERM and a closed terminal end this process as an exception does, so that nothing half done stays behind.

    Those that are ignored, as under nohup, stay so; a command that waits for its trials hears them itself.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            drop_terminal()
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)


def _explain(error: Exception, *, debug: bool) -> int:
    """Print an error and return its exit code."""
    from search.credentials import without_credentials
    from spaces import YoloRetError

    if debug:
        click.echo(without_credentials("".join(traceback.format_exception(error))), err=True, nl=False)
    hint, exit_code = "", 1
    if isinstance(error, YoloRetError):
        message, hint, exit_code = error.message, error.hint, 2 if isinstance(error, ValueError) else 1
    elif isinstance(error, ProjectFileError):
        message, exit_code = str(error), 2
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        name = error.filename2 or error.filename  # of a copy, the target
        message = f"{error.strerror}{f': {name}' if name else ''}"
        hint = "free space there, or set TMPDIR to a larger disk; then run the same command again"
    elif isinstance(error, OSError) and error.filename:
        message = f"{error.strerror}: {error.filename}"
    else:
        message = f"this is a bug in yoloret-nas: {type(error).__name__}: {error}"
        hint = "" if debug else "run it again with `yoloret-nas --debug …` to see where"
    click.echo(f"{coloured('error:', 'red', bold=True)} {without_credentials(message)}", err=True)
    if hint:
        click.echo(f"{coloured('hint:', 'cyan')} {hint}", err=True)
    return exit_code
