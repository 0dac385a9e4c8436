"""Lightning without banners and warnings about what is meant."""

import os
import warnings
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from trials.training.errors import OutOfMemoryError
from trials.training.lightning_guard import named_errors, quiet_lightning


def test_a_machine_of_a_slurm_cluster_is_trained_on_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    assert any("srun" in str(one.message) for one in heard)  # what it would say
    with warnings.catch_warnings(record=True) as heard, quiet_lightning():
        Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    assert not [one for one in heard if "srun" in str(one.message)]


@pytest.mark.parametrize(
    ("signal", "is_memory"),
    [("Killed", True), ("Bus error", True), ("Terminated", False), ("Segmentation fault", False)],
)
def test_the_signal_that_ended_a_worker_decides_where_torch_knows_it(signal: str, is_memory: bool) -> None:
    ended = RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
    with pytest.raises(RuntimeError if not is_memory else OutOfMemoryError) as caught, named_errors(4):
        raise ended from RuntimeError(f"DataLoader worker (pid 7) is killed by signal: {signal}. ")
    assert (caught.value is ended) is not is_memory
