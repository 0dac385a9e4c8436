from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader

from trials.training.lightning_guard import quiet_lightning
from trials.training.weight_average import WeightAverage


class Line(LightningModule):
    """A batch norm and a weight, so that there are parameters, float buffers and a counter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss: Tensor = self.net(batch).square().mean()
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Nothing to score; Lightning validates only where there is such a step."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Witness(Callback):
    """Averages by hand, and compares with what validation sees."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.expected: dict[str, Tensor] = {}
        self.own: dict[str, Tensor] = {}
        self.steps = self.validations = 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: object) -> None:
        self.steps += 1
        if self.steps > 100 and self.steps % 4 != 1:  # after the first hundred, steps 101, 105, …
            return
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps)) ** (4 if self.steps > 100 else 1)
        for name, value in pl_module.state_dict().items():
            if value.is_floating_point() and self.steps > 1:
                self.expected[name] = decay * self.expected[name] + (1 - decay) * value
            else:
                self.expected[name] = value.clone()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.own = {name: value.clone() for name, value in pl_module.state_dict().items()}

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: object) -> None:
        self.validations += 1
        torch.testing.assert_close(pl_module.state_dict(), self.expected)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        torch.testing.assert_close(pl_module.state_dict(), self.own, atol=0, rtol=0)


def train(
    module: Line, callbacks: list[Callback], *, epochs: int = 2, num_batches: int = 6, **flags: object
) -> Trainer:
    data = [torch.randn(3, generator=torch.Generator().manual_seed(index)) for index in range(4 * num_batches)]
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **flags,  # type: ignore[arg-type]
    )
    with quiet_lightning():
        loader = DataLoader(data, batch_size=4)  # type: ignore[arg-type,var-annotated]
        trainer.fit(module, loader, DataLoader(data[:4], batch_size=4))  # type: ignore[arg-type]
    return trainer


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("num_batches", [1, 6, 57])
def test_the_average_equals_one_kept_by_hand_and_is_left_in_the_module(decay: float, num_batches: int) -> None:
    witness, module = Witness(decay), Line()
    train(module, [WeightAverage(decay), witness], num_batches=num_batches)
    assert (witness.steps, witness.validations) == (2 * num_batches, 2)
    torch.testing.assert_close(module.state_dict(), witness.expected)


def test_the_average_lies_on_the_device_that_trains() -> None:
    """Of the devices every machine has, `meta` is the one that is not the CPU."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy._root_device = torch.device("meta")  # type: ignore[attr-defined]
    average = WeightAverage(0.9)
    average.setup(trainer, Line(), "fit")
    assert average._average_model is not None
    assert {one.device.type for one in average._average_model.parameters()} == {"meta"}


def test_without_a_step_the_module_keeps_its_weights() -> None:
    module = Line()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    train(module, [WeightAverage(0.9)], limit_train_batches=0)
    torch.testing.assert_close(module.state_dict(), before, atol=0, rtol=0)


def test_a_checkpoint_holds_average_and_ramp(tmp_path: Path) -> None:
    module = Line()
    trainer = train(module, [WeightAverage(0.9)])
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["averaging_state"] == {"n_averaged": torch.tensor(12)}
    torch.testing.assert_close(saved["state_dict"], dict(module.state_dict()))


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_bad_decay_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=f"decay {decay} is not from 0 to below 1"):
        WeightAverage(decay)
