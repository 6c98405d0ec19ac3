import pytest
import torch
from torch import nn

from qprune_cli.regression.linear_map import fill_, layer_pairs, matrix_of
from qprune_cli.regression.norm import norm_matrix, norm_pairs

LAYERS = {
    "plain": nn.Conv2d(4, 6, 3, padding=1),
    "no bias": nn.Conv2d(4, 6, 3, bias=False),
    "strided, dilated, oblong": nn.Conv2d(4, 6, (3, 2), stride=(2, 1), dilation=(1, 2), padding=(2, 1)),
    "same": nn.Conv2d(4, 6, (4, 3), padding="same"),
    "valid": nn.Conv2d(4, 6, 3, padding="valid"),
    "reflected": nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "replicated": nn.Conv2d(4, 6, 3, padding=(2, 1), padding_mode="replicate"),
    "circular": nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"),
    "grouped": nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "depthwise": nn.Conv2d(4, 8, 3, padding=1, groups=4),
    "transposed": nn.ConvTranspose2d(4, 6, 3, padding=1),
    "transposed, strided": nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
    "transposed, dilated, grouped": nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), dilation=(2, 1), groups=2, bias=False),
}


@pytest.mark.parametrize("name", LAYERS)
def test_rows_times_matrix_is_what_a_layer_gives_everywhere(name):
    torch.manual_seed(0)
    layer = LAYERS[name].double()
    x = torch.randn(4, 9, 11, dtype=torch.float64)
    y = layer(x[None])[0].detach()
    places = torch.meshgrid(torch.arange(y.shape[1]), torch.arange(y.shape[2]), indexing="ij")
    rows, targets = layer_pairs(layer, x, y, tuple(place.flatten() for place in places))
    assert torch.allclose(torch.einsum("pgd,gdo->pgo", rows, matrix_of(layer)), targets)


def test_rows_of_a_linear_layer():
    layer, x = nn.Linear(5, 3), torch.randn(5)
    none = (torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    rows, targets = layer_pairs(layer, x, layer(x).detach(), none)
    assert torch.allclose(torch.einsum("pgd,gdo->pgo", rows, matrix_of(layer)), targets, atol=1e-6)


@pytest.mark.parametrize("name", [*LAYERS, "linear"])
def test_a_matrix_written_into_a_layer_is_read_back(name):
    layer = (nn.Linear(5, 3) if name == "linear" else LAYERS[name]).double()
    wanted = torch.randn_like(matrix_of(layer))
    fill_(layer, wanted)
    assert torch.equal(matrix_of(layer), wanted)


@pytest.mark.parametrize("affine", [True, False])
def test_a_norm_is_a_scale_and_a_shift(affine):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3, affine=affine).double()
    norm(torch.randn(4, 3, 5, 5, dtype=torch.float64) * 3 + 1)  # statistics of its own
    norm.eval()
    x = torch.randn(3, 4, 6, dtype=torch.float64)
    places = tuple(place.flatten() for place in torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij"))
    rows, targets = norm_pairs(x, norm(x[None])[0].detach(), places)
    assert torch.allclose(torch.einsum("pgd,gdo->pgo", rows, norm_matrix(norm)), targets)
