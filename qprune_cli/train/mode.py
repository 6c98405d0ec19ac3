"""What may differ from a training from scratch: what is minimised, what BatchNorm does, and whether the first weights count."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Loss = Callable[[Tensor, Tensor], Tensor]  # of (N, ...) outputs and targets


class Objective(Protocol):
    """What a training minimises."""

    def __call__(self, loss: Loss, network: Callable[[Tensor], Tensor], noisy: Tensor, clean: Tensor) -> Tensor:
        """A number for a batch, by a loss of outputs and targets."""


def outputs_alone(loss: Loss, network: Callable[[Tensor], Tensor], noisy: Tensor, clean: Tensor) -> Tensor:
    """The loss of what the network gives."""
    return loss(network(noisy).float(), clean)


@dataclass(frozen=True)
class TrainingMode:
    """How a training goes.

    Attributes:
        section: of the settings, for messages.
        label: of the progress bar.
        loss: what is minimised.
        frozen: BatchNorm keeps its running mean and variance and uses them; its scale and shift are trained like all weights.
        begun: the weights that training begins with count: they are validated first, and are the result where none is better.
    """

    section: str = "train"
    label: str = "train"
    loss: Objective = outputs_alone
    frozen: bool = False
    begun: bool = False

    def ready_(self, model: nn.Module) -> None:
        """Set a network to the mode for an update."""
        model.train()
        if self.frozen:
            for module in model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()


SCRATCH = TrainingMode()
