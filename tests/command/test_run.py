"""``qprune run``, as far as it refuses a network that it cannot prune."""

import re
import sys

import pytest
import torch

from qprune_cli import cli

NETS = """
import torch
from torch import nn

def good(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1))

def broken():
    raise RuntimeError("no such luck")

def words():
    return "a network"

class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = good()
    def forward(self, x):
        if x.mean() > 0.5:
            return x
        return self.net(x)
"""


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.factory=nets:nothing"], "'nets' has no function 'nothing'"),
        (["model.factory=nowhere:good"], "'nowhere' cannot be imported"),
        (["model.factory=nets:broken"], "it raised RuntimeError: no such luck"),
        (["model.factory=nets:words"], "it returned str"),
        (["model.factory=nets:good", "model.arguments.width=5"], r"'0.weight' has shape \(4, 3, 3, 3\), not \(5, 3, 3, 3\)"),
        (["model.factory=nets:good", "model.checkpoint=nothing.pth"], "no such file"),
        (["model.factory=nets:good", "sparsity=0.9"], "keep at least 1"),
        (["model.factory=nets:Branching"], r"at nets.py:\d+ `if x.mean\(\) > 0.5:`.*model.wrap="),
    ],
)
@pytest.mark.slow
def test_a_custom_network_that_cannot_be_pruned_is_refused_before_anything_is_written(overrides, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.modules.pop("nets", None)
    import nets

    torch.save((nets.Branching() if "Branching" in overrides[0] else nets.good()).state_dict(), "weights.pth")
    job = ["qprune", "run", "data.crops=4", "model=custom", "model.checkpoint=weights.pth", *overrides, "output_root=out"]
    monkeypatch.setattr(sys, "argv", job)
    with pytest.raises(SystemExit) as end:
        cli.main()
    text = capsys.readouterr().err
    assert end.value.code == 2 and text.startswith("qprune: ") and text.count("\n") == 1
    assert re.search(message, text), text
    assert not (tmp_path / "out").exists()
