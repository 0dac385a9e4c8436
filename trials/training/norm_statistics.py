"""Statistics of batch norms, computed anew from training images.

A batch norm's running statistics trail the weights by some ten steps and come from as many small batches. How much that
matters depends on how long the training is: after four epochs of the quick recipe statistics from 256 images gained 0.011 AP
over the running ones (six networks, two seeds, once), after the six it has now none (`benchmarks/quick_recipe.py`).

Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3: PreciseBN.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from trials.data.batches import Item, ScoringBatches, collate
from trials.data.dataset import Sample
from trials.data.letterbox import as_network_input

_BATCH_SIZE = 32  # larger than a training step's: a variance over few images is too small


class NormStatistics:
    """Computes them, keeping its letterboxed images from one time to the next.

    Args:
        samples: The training split.
        input_size: Side of the square images, pixels.
        num_images: How many of them, evenly spread over the split, at least 1; all where there are fewer.
        num_workers: Processes that prepare images, 0 for none.
        cache_mib: Memory for letterboxed images, MiB.
    """

    def __init__(
        self, samples: Sequence[Sample], input_size: int, *, num_images: int, num_workers: int, cache_mib: int
    ) -> None:
        count = min(num_images, len(samples))
        chosen = [samples[place * len(samples) // count] for place in range(count)]
        self._loader: DataLoader[Item] = DataLoader(
            ScoringBatches(chosen, input_size, cache_mib=cache_mib),
            batch_size=_BATCH_SIZE,
            collate_fn=collate,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
        )

    def compute(self, network: nn.Module) -> None:
        """Replace the statistics of a network where it is; those of norms in evaluation mode, the frozen ones, stay.

        Modes are left as they were.
        """
        device = next(network.parameters()).device
        norms = [one for one in network.modules() if isinstance(one, _BatchNorm) and one.training]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        try:
            with torch.no_grad():
                for batch in self._loader:
                    network(as_network_input(batch.images.to(device)))
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
