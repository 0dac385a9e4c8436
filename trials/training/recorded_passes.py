"""Records a network's forward and backward pass on a GPU as CUDA graphs.

A training step of a small network launches some two thousand kernels, each of which computes for microseconds: the CPU that
launches them is the limit, not the GPU. A graph launches them all at once. Measurements: docs/gpu.md.
"""

import gc

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from trials.data.images.letterbox import as_network_input


class RecordedPasses(Callback):
    """Records the passes before the first batch is loaded, and plays them back until training ends.

    While batches are loaded, a thread puts them into pinned memory, which CUDA does not allow during a recording. All
    batches of a training have the same size. The parameters that have gradients must stay the same too.

    Args:
        network: The trained network.
        batch_size: Images of every batch.
        input_hw: Height and width of the images, pixels.
        is_bf16: Whether its passes run in bfloat16 autocast.
    """

    def __init__(self, network: nn.Module, *, batch_size: int, input_hw: tuple[int, int], is_bf16: bool) -> None:
        self._network = network
        self._shape = batch_size, 3, *input_hw
        self._is_bf16 = is_bf16

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record; the network is on its GPU, and there is no loader yet."""
        images = torch.zeros(self._shape, dtype=torch.uint8, device=pl_module.device)
        record_passes(self._network, as_network_input(images), is_bf16=self._is_bf16)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the network its own forward pass back, and free the graphs."""
        vars(self._network).pop("forward", None)


def record_passes(network: nn.Module, images: Tensor, *, is_bf16: bool) -> None:
    """Replace the network's forward pass in training mode by the recorded one; weights and statistics stay as they are.

    Args:
        network: On a GPU, in training mode.
        images: (B, 3, H, W) float32, as every later batch.
        is_bf16: Whether the passes run in bfloat16 autocast.
    """
    gc.collect()  # an earlier training's graphs, freed by chance during the recording, would make it fail
    before = [(buffer, buffer.clone()) for buffer in network.buffers()]
    # The cache of autocast weights would outlive the recording.
    with torch.autocast(images.device.type, torch.bfloat16, enabled=is_bf16, cache_enabled=False):
        torch.cuda.make_graphed_callables(network, (images,), allow_unused_input=True)
    with torch.no_grad():
        for buffer, value in before:  # recording runs a few passes, which change the norms' statistics
            buffer.copy_(value)
