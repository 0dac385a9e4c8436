"""`yoloret-nas device`: a device's facts, how steady it is, and advice."""

import json
import shlex
from contextlib import closing
from typing import TYPE_CHECKING

import click

from yoloret_nas.terminal.colour import coloured

if TYPE_CHECKING:
    from trials.latency.doctor import DeviceReport

_SIGNS = {"good": ("ok", "green"), "note": ("note", "yellow"), "problem": ("problem", "red")}


@click.command("device")
@click.argument("device", metavar="[SPEC]", default="cpu")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def device(device: str, as_json: bool) -> None:
    """Examine the device SPEC: print its facts and advice, and time a small reference network three times.

    SPEC is cpu, cpu:threads=N, cuda, cuda:N, or ssh://[user@]host[:port], where host may be an alias of your ssh_config.
    """
    from trials.latency.doctor import examine_device
    from trials.latency.open_device import open_device

    with closing(open_device(device, patience_s=0)) as opened:
        report = examine_device(opened)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _print(report)
    if not report.is_steady:
        raise click.exceptions.Exit(1)


def _print(report: "DeviceReport") -> None:
    width = max(map(len, (*report.facts, "reference")))
    click.echo(report.device)
    for name, value in report.facts.items():
        click.echo(f"  {name:<{width}}  {value}")
    if report.reference_ms:
        times = ", ".join(f"{milliseconds:.3f}" for milliseconds in report.reference_ms)
        click.echo(f"  {'reference':<{width}}  {times} ms")
    for finding in report.findings:
        sign, colour = _SIGNS[finding.level]
        click.echo(f"{coloured(sign, colour)}: {finding.text}")
        if finding.advice:
            click.echo(f"  {finding.advice}")
    if report.is_steady:
        _print_next(report)


def _print_next(report: "DeviceReport") -> None:
    """Print the search to type next: for a board with a limit, and where this machine has no GPU, in a space for CPUs."""
    from yoloret_nas.machine import visible_gpus

    command = f"next: yoloret-nas search --data PATH --device {shlex.quote(report.device)} --budget 50"
    if report.identity.kind != "ssh":  # others are far faster, and their default space is this machine's
        click.echo(command)
        return
    has_gpu = bool(visible_gpus())
    click.echo(f"{command} --max-latency 25ms{'' if has_gpu else ' --space lite'}")
    click.echo("  25 ms is for the network alone: at 30 images a second, 33 ms is a whole frame")
    if not has_gpu:
        click.echo("  --space lite: networks that a CPU can train, since this machine has no GPU that PyTorch can use")
