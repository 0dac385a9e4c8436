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
        limit = (
            " --max-latency 33ms" if report.identity.kind == "ssh" else ""
        )  # 30 images a second; others are far faster
        click.echo(f"next: yoloret-nas search --data PATH --device {shlex.quote(report.device)} --budget 50{limit}")
