"""A network with the weights of its training, and what it may be scored on."""

from spaces import Architecture
from spaces.networks.network import YoloReT, build_network
from trials.data.dataset import Dataset, DatasetError
from trials.training.checkpoint import Checkpoint


def load_trained(architecture: Architecture, checkpoint: Checkpoint) -> YoloReT:
    """Build an architecture's network with a checkpoint's weights."""
    network = build_network(architecture, num_classes=len(checkpoint.decoding.class_names))
    network.load_state_dict(dict(checkpoint.weights))
    return network


def check_classes(checkpoint: Checkpoint, dataset: Dataset, *, name: str) -> None:
    """Refuse to score a network on a dataset of other classes.

    Args:
        checkpoint: Of the network.
        dataset: Of any classes.
        name: The network's, for the message.

    Raises:
        DatasetError: the classes, or their order, differ.
    """
    ours, theirs = checkpoint.decoding.class_names, dataset.class_names
    if ours != theirs:
        raise DatasetError(
            f"{name} knows the classes {', '.join(ours)}; {dataset.name} has {', '.join(theirs)}",
            hint="score it on data of the classes it was trained for, in the same order",
        )
