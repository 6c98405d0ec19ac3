import torch
from torch import nn

from qprune_cli.cost.latency import latencies
from qprune_cli.cost.memory import peak_activations


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        kept = self.first(x)
        return kept + torch.relu(self.second(torch.relu(kept)))


def test_the_peak_of_a_skip_by_hand():
    pixels = 4 * 10 * 10
    # alive at once at most: the image (1), what is kept (3), the input and the output of the second convolution (3 + 3)
    assert peak_activations(Skip(), (1, 10, 10)) == (1 + 3 + 3 + 3) * pixels


def test_a_view_needs_no_memory_and_what_is_no_longer_read_is_gone():
    chain = nn.Sequential(*[nn.Conv2d(1, 1, 1) for _ in range(5)], nn.Flatten())
    assert peak_activations(chain, (1, 8, 8)) == 2 * 4 * 64 or peak_activations(chain, (1, 8, 8)) == 3 * 4 * 64


def test_a_network_that_waits_is_measured_slower_and_all_are_timed_equally_often():
    class Slow(nn.Conv2d):
        def forward(self, x):
            for _ in range(20):
                x = super().forward(x)
            return x

    found = latencies({"fast": nn.Conv2d(4, 4, 3, padding=1), "slow": Slow(4, 4, 3, padding=1)}, (4, 64, 64), seconds=0.05, threads=1)
    assert found["slow"].median > found["fast"].median
    assert found["slow"].runs == found["fast"].runs >= 7 and found["slow"].threads == 1
