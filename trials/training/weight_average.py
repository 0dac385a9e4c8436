"""The exponential moving average of the weights, which is scored and kept."""

from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage(WeightAveraging):
    """Averages weights and batch norms' statistics after each step, with a decay that starts low.

    The first update copies the weights. At update n the decay is min(decay, (1 + n) / (10 + n)), so that short trainings do
    not end in their first weights: it passes 0.99 after 900 updates and 0.999 after 9 000. Integer buffers are copied.

    Args:
        decay: Of the average, 0 to below 1; nearer 1 is longer.

    Source: the ramp is TensorFlow's ``ExponentialMovingAverage(num_updates=…)``.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay {decay} is not from 0 to below 1")

        def update(averaged: list[Tensor], current: list[Tensor], num_averaged: Tensor | int) -> None:
            if averaged[0].is_floating_point():  # torch groups tensors by type
                number = int(num_averaged) + 1
                average = get_ema_multi_avg_fn(min(decay, (1 + number) / (10 + number)))  # type: ignore[no-untyped-call]
                average(averaged, current, num_averaged)
            else:
                for old, new in zip(averaged, current, strict=True):
                    old.copy_(new)

        super().__init__(multi_avg_fn=update)
