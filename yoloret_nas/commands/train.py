"""`yoloret-nas train`: one architecture in full."""

import click

from yoloret_nas.options.complete import complete_network
from yoloret_nas.options.networks import FORMS, explains
from yoloret_nas.options.training import TrainingOptions, training_options


@explains(f"NETWORK is {FORMS}; its weights are not used.")
@click.command()
@click.argument("source", metavar="NETWORK", shell_complete=complete_network)
@training_options()
@click.option("--name", default=None, help="Name; the same name resumes.  [default: from network and data]")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of initial weights, order and augmentation.")
def train(source: str, name: str | None, seed: int, options: TrainingOptions) -> None:
    """Train NETWORK in full: measured, scored, tracked in MLflow like a search's trial.

    Run the same command again to resume.
    """
    from search.study.next_command import dir_option
    from yoloret_nas.api.train import train_network
    from yoloret_nas.terminal.console import open_console

    trial = train_network(source, name=name, seed=seed, options=options, console=open_console())
    assert trial.latency is not None  # it is complete
    for label, ap in trial.per_class_ap.items():
        click.echo(f"  {label}: AP {ap:.4f}")
    seconds = ", ".join(f"{phase} {value:.0f} s" for phase, value in trial.seconds.items() if value >= 0.5)
    click.echo(f"AP {trial.ap:.4f}, AP50 {trial.ap50:.4f}, {trial.latency.median_ms:.3f} ms ({seconds})")
    study, here = trial.study, dir_option(options.root)
    click.echo(f"wrote {options.root / study}\nnext: yoloret-nas export --study {study} --trial {trial.number}{here}")
