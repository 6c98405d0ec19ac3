"""What may differ from a training from scratch: what is minimised, what BatchNorm does, and whether the first weights count."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Loss = Callable[[Tensor, Tensor], Tensor]  # of (N, ...) outputs and targets


class Objective(Protocol):
    """What the updates of a training minimise: the loss of the outputs, or more than that."""

    def __call__(self, loss: Loss, network: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """The value for one batch, a 0-d tensor to differentiate.

        Args:
            loss: of the outputs and the targets.
            network: that is trained.
            inputs: (N, C, H, W) images.
            targets: (N, C, H, W) clean images, or (N,) labels.
        """


def outputs_alone(loss: Loss, network: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of the (N, ...) outputs and nothing else; the objective of a training without a teacher."""
    return loss(network(inputs).float(), targets)


@dataclass(frozen=True)
class TrainingMode:
    """How one training differs from others; the defaults are those of a training from scratch.

    Attributes:
        section: of the settings, for messages.
        label: of the progress bar.
        loss: what is minimised.
        frozen_batchnorm: BatchNorm keeps its running mean and variance and uses them; its scale and shift are trained like all weights.
        warm_start: the weights that training begins with count: they are validated first, and are the result where none is better.
    """

    section: str = "train"
    label: str = "train"
    loss: Objective = outputs_alone
    frozen_batchnorm: bool = False
    warm_start: bool = False

    def ready_(self, model: nn.Module) -> None:
        """Put a network into training mode; frozen BatchNorm layers stay in evaluation mode."""
        model.train()
        if self.frozen_batchnorm:
            for module in model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()


SCRATCH = TrainingMode()
