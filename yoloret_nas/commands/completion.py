"""`yoloret-nas completion`: the Tab key completes commands, options and studies."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from yoloret_nas.options.choices import SHELLS

_VARIABLE = "_YOLORET_NAS_COMPLETE"
"""The variable by which a shell asks for completions; click makes it of the program's name (`yoloret_nas.cli`)."""
_BEGIN_ZSH = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"
"""A zsh without a configuration has not loaded its completions."""


def _users_shell() -> str | None:
    name = Path(os.environ.get("SHELL", "")).name
    return name if name in SHELLS else None


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), default=_users_shell, required=False)
@click.option("--install", is_flag=True, help="Install it for all shells that start from now on.")
@click.pass_context
def completion(ctx: click.Context, shell: str | None, install: bool) -> None:
    """Print what makes the Tab key complete commands, options and names of studies; or install it.

    SHELL is bash, zsh or fish; by default the shell in $SHELL.
    """
    if shell is None:
        raise click.UsageError(f"SHELL names none of {', '.join(SHELLS)}; give one: yoloret-nas completion bash")
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(ctx.find_root().command, {}, "yoloret-nas", _VARIABLE).source()
    if shell == "zsh":
        script = _BEGIN_ZSH + script
    if not install:
        click.echo(script)
        return
    for line in _install(shell, script):
        click.echo(line)
    click.echo(f"open a new {shell}, or: exec {shell}")


def _install(shell: str, script: str) -> list[str]:
    """Write the script, and a line that reads it into the shell's own file unless it is there; return what was done."""
    from trials.whole_file import whole_file

    if shell == "fish":  # reads all files of this folder by itself
        config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
        path = config / "fish" / "completions" / "yoloret-nas.fish"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
        path = data / "yoloret-nas" / f"completion.{shell}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(script, encoding="utf-8")
    done = [f"wrote {path}"]
    if shell != "fish":
        settings = Path(os.environ.get("ZDOTDIR") or "~" if shell == "zsh" else "~").expanduser() / f".{shell}rc"
        line = os.fsencode(f'[ ! -f "{path}" ] || . "{path}"  # yoloret-nas completion')
        before = settings.read_bytes() if settings.is_file() else b""  # in whatever encoding
        if line not in before.splitlines():
            with settings.open("ab") as file:
                file.write((b"" if before.endswith(b"\n") or not before else b"\n") + line + b"\n")
            done.append(f"added a line to {settings}")
    return done
