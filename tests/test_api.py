import sys

import numpy as np
import pytest
import torch

import qprune_cli as qp
from qprune_cli import cli
from qprune_cli.errors import UserError
from qprune_cli.model.nafnet import NAFNet
from tests.conftest import write_pairs

QUICK = {"latency": False, "fidelity": 0}
IMAGE = torch.rand(2, 3, 37, 51, generator=torch.Generator().manual_seed(0))


def noisy_pairs(count=8, side=24):
    rng = np.random.default_rng(0)
    clean = rng.uniform(size=(count, 3, side, side)).astype(np.float32)
    return [(torch.from_numpy(np.clip(c + rng.normal(0, 0.1, c.shape), 0, 1).astype(np.float32)), torch.from_numpy(c)) for c in clean]


@pytest.mark.parametrize("granularity", ["filter", "group"])
def test_prune_makes_any_network_smaller(granularity):
    torch.manual_seed(0)
    model = NAFNet(width=4, encoder=(1,), middle=1, decoder=(1,)).build().train()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = qp.prune(
        model, noisy_pairs(), sparsity=0.5, granularity=granularity, scorer="taylor", solver="greedy", compensate="none", **QUICK
    )
    assert result.keep.sum() == round(result.layout.n * 0.5)
    stages = result.metrics["stages"]
    if granularity == "group":
        gone = 1 - stages["refined"]["filters"] / stages["dense"]["filters"]
        assert result.metrics["sparsity"] == {
            "asked": 0.5,
            "got": 0.5,
            "budget": "filters",
            "counts": "groups",
            "filters": pytest.approx(gone),
        }
    assert stages["refined"]["params"] == sum(p.numel() for p in result.model.parameters()) < stages["dense"]["params"]
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    with torch.no_grad(), qp.silence(model, result.layout, result.keep):
        assert torch.allclose(result.model(IMAGE), model(IMAGE), atol=1e-5)


def test_prune_takes_stacks_and_arrays_and_other_settings(small_model):
    noisy, clean = (np.stack([np.asarray(pair[k]) for pair in noisy_pairs()]) for k in (0, 1))
    stacks = [(noisy[:5], clean[:5]), (noisy[5:], clean[5:])]
    first, second = (qp.prune(small_model, data, 0.25, solver="greedy_l1", floor=2, seed=3, **QUICK) for data in (stacks, noisy_pairs()))
    assert np.array_equal(first.keep, second.keep) and first.metrics["stages"]["dense"]["psnr"]["n"] == 2


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (noisy_pairs(3), {}, "3 images; give at least 4"),
        ([np.zeros((3, 8, 8))] * 8, {}, "give pairs of a noisy and a clean image"),
        ([(np.zeros((3, 8, 8)), np.zeros((3, 8, 9)))] * 8, {}, r"shapes \(3, 8, 8\) and \(3, 8, 9\)"),
        ([(np.full((3, 8, 8), 255), np.zeros((3, 8, 8)))] * 8, {}, r"values from 255 to 255; give images in \[0, 1\]"),
        ([(np.zeros((20, 24, 3)), np.zeros((20, 24, 3)))] * 8, {}, r"looks like \(H, W, C\); give \(C, H, W\)"),
        (noisy_pairs(), {"sparsity": 1.0}, "sparsity=1.0"),
        (noisy_pairs(), {"sparsity": 0.99}, "sparsity: .* keep at least"),
        (noisy_pairs(), {"scorer": "tailor"}, "did you mean 'taylor'"),
        (noisy_pairs(), {"florr": 2}, "florr: no such setting; did you mean 'floor'"),
        (noisy_pairs(), {"keep_layers": ("nowhere",)}, "no layer of this network matches 'nowhere'"),
    ],
)
def test_mistakes_get_one_sentence(small_model, data, settings, message):
    with pytest.raises(UserError, match=message):
        qp.prune(small_model, data, **settings)


class Other(torch.nn.Module):
    def __init__(self, change):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 3, 3, padding=1))
        self.change = change

    def forward(self, x):
        return self.change(self.net(x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Other(lambda y: (y, y)), r"gives a tuple for an image of shape \[1, 3, 24, 24\]; return one image"),
        (Other(lambda y: y[:, :, ::2, ::2]), r"gives \[1, 3, 12, 12\] for an image of shape"),
        (Other(lambda y: y).double(), r"computes in torch.float64; convert it with model.float\(\)"),
        ({}, "model: dict is no network"),
        (torch.nn.Conv2d(4, 4, 1), r"does not take an image of shape \[1, 3, 24, 24\] .*set model.channels"),
    ],
)
def test_networks_that_make_no_image_of_an_image_are_refused(model, message):
    with pytest.raises(UserError, match=message):
        qp.prune(model, noisy_pairs())


def test_prune_needs_no_gradients_to_be_on_and_warns_of_a_useless_network(small_model):
    with torch.no_grad():
        result = qp.prune(Other(lambda y: y), noisy_pairs(), sparsity=0.5, scorer="taylor", solver="greedy", **QUICK)
    assert any("is worse than the noisy images" in warning for warning in result.metrics["warnings"])
    assert result.keep.flags.writeable


def test_images_that_the_network_does_not_take_are_refused(small_model):
    grey = [(noisy[:1], clean[:1]) for noisy, clean in noisy_pairs()]
    with pytest.raises(UserError, match="does not take an image of shape"):
        qp.prune(small_model, grey)


def test_custom_network_from_the_command_line_to_a_smaller_one(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def make(width=6):\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.PReLU(width), nn.Conv2d(width, 3, 1))\n"
    )
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "images", count=8)
    sys.path.insert(0, str(tmp_path))
    import net

    torch.save({"state_dict": {f"module.{key}": value for key, value in net.make(8).state_dict().items()}}, "net.pth")
    job = [
        "model=custom",
        "model.factory=net:make",
        "model.arguments.width=8",
        "model.checkpoint=net.pth",
        "data=pairs",
        "data.root=images",
    ]
    job += ["data.crop_size=16", "solver=greedy_taylor", "sparsity=0.5", "fidelity=0", "latency=false"]
    assert cli.dispatch(["run", *job, "output_root=out"]) == 0
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    run = qp.load_run(folder)
    assert run.model.get_submodule("0").out_channels == 4 and run.model.get_submodule("2").num_parameters == 4
    assert cli.dispatch(["run", "--from", str(folder), "sparsity=0.25", "output_root=again"]) == 0
    (folder,) = (tmp_path / "again" / "runs").iterdir()
    assert qp.load_run(folder).keep.sum() == 6


def test_limits_and_patterns_are_given_as_plain_containers(small_model):
    settings = {"limits": {"decoder.*": (2, 3)}, "exclude": ("encoder.0.*",), "budget": "macs"}
    result = qp.prune(small_model, noisy_pairs(), sparsity=0.3, **settings, **QUICK)
    kept = result.layout.masks(result.keep)
    assert all(2 <= mask.sum() <= 3 for name, mask in kept.items() if name.startswith("decoder."))
    assert not any(name.startswith("encoder.0.") for name in kept)
    assert result.metrics["stages"]["compensated"]["macs"] <= 0.7 * result.metrics["stages"]["dense"]["macs"]


def test_a_transfer_is_left_to_the_command_line(small_model):
    with pytest.raises(UserError, match="transfer=retrain: networks in memory are pruned alone"):
        qp.prune(small_model, noisy_pairs(), transfer="retrain")
