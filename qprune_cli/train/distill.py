"""Knowledge distillation: the outputs of the dense network, and what its layers give, are part of what training aims at."""

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
    """The filters of a layer that a network, the student, has in common with its teacher.

    Attributes:
        student: (n,) their numbers in the layer of the student.
        teacher: (n,) their numbers in the layer of the teacher, in the same order.
    """

    student: Ints
    teacher: Ints


FindAlike = Callable[[], Mapping[str, Alike]]  # by name of the layer; called only where features are compared


@dataclass(frozen=True)
class Distillation:
    r"""An objective whose target is in part the output of a teacher.

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

    def __call__(self, loss: Loss, network: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """The value for one batch, a 0-d tensor (see ``Objective``)."""
        names = list(self.alike) if self.features > 0 else []
        with torch.no_grad(), layer_outputs(self.teacher, names) as teacher_layers:
            teacher_output = self.teacher(inputs).float()
        with layer_outputs(network, names) as student_layers:
            output = network(inputs).float()
        value = self._blended(loss, output, teacher_output, targets)
        if names:
            gaps = [_gap(student_layers[name], teacher_layers[name], self.alike[name]) for name in names]
            value = value + self.features * torch.stack(gaps).mean()
        return value

    def _blended(self, loss: Loss, output: Tensor, teacher_output: Tensor, targets: Tensor) -> Tensor:
        """The loss of the outputs: with one blended target for images, as a sum of two losses for classes."""
        if targets.shape == teacher_output.shape:
            return loss(output, torch.lerp(targets, teacher_output, self.share))
        student, teacher = (F.log_softmax(logits / self.temperature, 1) for logits in (output, teacher_output))
        soft = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        return (1 - self.share) * loss(output, targets) + self.share * self.temperature**2 * soft


@contextmanager
def layer_outputs(network: Any, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """The outputs of layers, by name: the dict is filled while the network runs inside the block."""
    outputs: dict[str, Tensor] = {}

    def keeper(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[name] = output.clone()  # what follows may work in place

        return hook

    with ExitStack() as stack:
        for name in names:
            stack.callback(network.get_submodule(name).register_forward_hook(keeper(name)).remove)
        yield outputs


def _gap(student_layer: Tensor, teacher_layer: Tensor, alike: Alike) -> Tensor:
    """Squared difference of the filters (N, filters, ...) that two layers have in common, as a share of the teacher's energy."""
    student, teacher = (
        layer.float().index_select(1, torch.as_tensor(numbers, device=layer.device))
        for layer, numbers in ((student_layer, alike.student), (teacher_layer, alike.teacher))
    )
    return (student - teacher).square().mean() / (teacher.square().mean() + 1e-12)
