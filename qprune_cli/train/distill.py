"""Learning from the network that was there before: its outputs, and what its layers give."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qprune_cli.train.mode import Loss
from qprune_cli.types import Ints


class Alike(NamedTuple):
    """Filters of a layer in a network and in its teacher that are to give the same, in this order."""

    own: Ints
    teacher: Ints


AlikeIn = Callable[[], Mapping[str, Alike]]  # finds them, by layer


@dataclass(frozen=True)
class Distillation:
    r"""Part of the target is what a teacher answers.

    Restoring images, ``loss(output, (1 - share) clean + share teacher)``: for squared errors the gradient of the weighted sum of both.
    Naming classes, ``(1 - share) loss(output, label) + share T^2 KL(teacher / T || output / T)``. On top ``features`` times the mean
    over the layers of ``|A - B|^2 / |B|^2``, with A what the filters of a layer give, B what the same filters of the teacher give.

    Attributes:
        teacher: the network, in evaluation mode; it is left as it is.
        share: of the target that is the teacher's, in [0, 1].
        temperature: T.
        features: weight of the layers; 0 for none.
        alike: filters that are compared, by name of their layer.

    References:
        Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531. Romero et al., "FitNets: hints for
        thin deep nets", ICLR 2015, arXiv:1412.6550; no layer in between is needed here, as every kept filter has its own in the teacher.
        Blending images into one target is ours.
    """

    teacher: nn.Module
    share: float
    temperature: float
    features: float
    alike: Mapping[str, Alike] = field(default_factory=dict)

    def __call__(self, loss: Loss, network: Callable[[Tensor], Tensor], noisy: Tensor, clean: Tensor) -> Tensor:
        """The loss of a batch."""
        names = list(self.alike) if self.features > 0 else []
        with torch.no_grad(), seen(self.teacher, names) as theirs:
            answer = self.teacher(noisy).float()
        with seen(network, names) as own:
            output = network(noisy).float()
        found = self._outputs(loss, output, answer, clean)
        if names:
            found = found + self.features * torch.stack([_gap(own[name], theirs[name], self.alike[name]) for name in names]).mean()
        return found

    def _outputs(self, loss: Loss, output: Tensor, answer: Tensor, clean: Tensor) -> Tensor:
        if clean.shape == answer.shape:
            return loss(output, torch.lerp(clean, answer, self.share))
        soft = F.kl_div(
            F.log_softmax(output / self.temperature, 1), F.log_softmax(answer / self.temperature, 1), reduction="batchmean", log_target=True
        )
        return (1 - self.share) * loss(output, clean) + self.share * self.temperature**2 * soft


@contextmanager
def seen(network: Any, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """What layers give while a network runs inside the block, by name."""
    found: dict[str, Tensor] = {}

    def keeper(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found[name] = output.clone()  # what follows may work in place

        return hook

    with ExitStack() as stack:
        for name in names:
            stack.callback(network.get_submodule(name).register_forward_hook(keeper(name)).remove)
        yield found


def _gap(own: Tensor, theirs: Tensor, alike: Alike) -> Tensor:
    """Squared difference of two layers as a share of what the teacher gives."""
    mine, wanted = (
        value.float().index_select(1, torch.as_tensor(numbers, device=value.device))
        for value, numbers in ((own, alike.own), (theirs, alike.teacher))
    )
    return (mine - wanted).square().mean() / (wanted.square().mean() + 1e-12)
