import pytest
import torch

from qprune_cli.errors import UserError
from qprune_cli.graph.trace import trace
from qprune_cli.model.dncnn import DnCNN


@pytest.mark.parametrize(
    ("component", "expected"),
    [(DnCNN(channels=1, width=64, depth=17, batchnorm=True), 556097), (DnCNN(channels=1, width=64, depth=17), 555137), (DnCNN(), 210483)],
)
def test_parameter_counts(component, expected):
    assert sum(p.numel() for p in component.build().parameters()) == expected


def test_published_weights_of_others_fit_and_remove_noise(real_data):
    """17 layers for grey images with noise of sigma 25, trained elsewhere, stored as model.0.weight and so on."""
    state = torch.load(real_data / "weights" / "kair_dncnn_25_gray.pth", weights_only=True)
    network = DnCNN(channels=1, width=64, depth=17).build().eval()
    network.load_state_dict({name.replace("model.", "body."): value for name, value in state.items()})
    ramp = torch.linspace(0.2, 0.8, 64).expand(1, 1, 64, 64)
    noisy = ramp + torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 25 / 255
    with torch.no_grad():
        before, after = (float((picture - ramp).square().mean()) for picture in (noisy, network(noisy)))
    assert after < before / 20


def test_fresh_network_begins_near_the_identity():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 16, 16)
    assert torch.allclose(DnCNN().build()(image), image, atol=0.05)


def test_hidden_layers_can_be_pruned():
    assert trace(DnCNN(width=5, depth=4).build()).n == 15


@pytest.mark.parametrize("setting", [{"channels": 2}, {"width": 0}, {"depth": 1}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match=f"model.{next(iter(setting))}"):
        DnCNN(**setting)
