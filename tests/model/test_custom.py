import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from qprune_cli.errors import UserError
from qprune_cli.model.custom import Custom

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1))
    def forward(self, x):
        return self.body(x)

def broken():
    raise RuntimeError("no such luck")

def words():
    return "a network"
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "my_net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.modules.pop("my_net", None)
    return tmp_path


def custom(place, **settings):
    return Custom(**{"factory": "my_net:Net", "channels": 1} | settings)


def saved(place, wrap=lambda state: state, name="net.pth"):
    torch.manual_seed(1)
    state = {key: value + 0.5 for key, value in custom(place).build().state_dict().items()}
    torch.save(wrap(state), place / name)
    return state, str(place / name)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"task": "clasify"}, "did you mean 'classify'"), ({"task": "classify", "predicts": "noise"}, "predicts no noise")],
)
def test_a_task_that_cannot_be_is_refused(place, settings, said):
    with pytest.raises(UserError, match=said):
        custom(place, **settings)


@pytest.mark.parametrize("factory", ["my_net:Net", "my_net.py:Net"])
def test_a_factory_is_found_by_module_and_by_file(place, factory):
    network = custom(place, factory=factory, arguments={"width": 6}).build()
    assert network.body[0].out_channels == 6


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
        lambda state: {f"anything.at.all.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"params": {key: value * 0 for key, value in state.items()}, "params_ema": state},
        lambda state: {"model": {f"module.{key}": value for key, value in state.items()}, "optimizer": {"lr": 1.0}},
        lambda state: {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")},
    ],
)
def test_weights_are_found_however_they_were_saved(place, wrap):
    state, path = saved(place, wrap)
    network = custom(place, checkpoint=path).load()
    assert not network.training
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items() if not key.endswith("tracked"))


def test_safetensors_will_do(place):
    state, _ = saved(place)
    save_file(state, place / "net.safetensors")
    assert torch.equal(custom(place, checkpoint="net.safetensors").load().body[0].weight, state["body.0.weight"])


def test_predicted_noise_is_subtracted(place):
    _, path = saved(place)
    image = torch.rand(2, 1, 8, 9)
    clean, noise = (custom(place, checkpoint=path, predicts=what).load() for what in ("clean", "noise"))
    assert torch.allclose(noise(image), image - clean(image), atol=1e-6)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("nowhere.at_all:Net", "'nowhere.at_all' cannot be imported .*No module named 'nowhere'"),
        ("my_net:Nett", "has no function 'Nett'; did you mean 'Net'"),
        ("nowhere.py:Net", "cannot be imported .*No such file"),
        ("my_net:broken", "it raised RuntimeError: no such luck"),
        ("my_net:words", "it returned str; return a torch.nn.Module"),
        ("my_net", "write package.module:function or file.py:function"),
    ],
)
def test_factories_that_give_no_network_are_refused(place, factory, message):
    with pytest.raises(UserError, match=f"model.factory=.*{message}"):
        custom(place, factory=factory).build()


def test_a_factory_with_wrong_arguments_is_refused(place):
    with pytest.raises(UserError, match=r"it raised TypeError: .*unexpected keyword argument 'wide'"):
        custom(place, arguments={"wide": 4}).build()


def test_weights_that_do_not_fit_are_listed(place):
    _, path = saved(place)
    with pytest.raises(UserError, match=r"'body.0.weight' has shape \(4, 1, 3, 3\), not \(6, 1, 3, 3\); .*check model.factory"):
        custom(place, checkpoint=path, arguments={"width": 6}).load()
    _, path = saved(place, lambda state: {"body.0.weight": state["body.0.weight"], "extra": torch.zeros(2)})
    with pytest.raises(UserError, match=r"'body.0.bias' is missing; .*'extra' is not expected") as caught:
        custom(place, checkpoint=path).load()
    assert "body.0.weight" not in str(caught.value)


def test_at_most_ten_names_are_listed(place):
    torch.save({f"other.{k}": torch.zeros(1) for k in range(30)}, place / "other.pth")
    with pytest.raises(UserError, match=r"and 28 more; check") as caught:
        custom(place, checkpoint="other.pth").load()
    assert str(caught.value).count(" is missing") + str(caught.value).count(" is not expected") == 10


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Evil(), "holds .*print beside weights, which could run code"),
        ({"epoch": 3}, "holds no weights"),
        (b"nonsense", "damaged|not a readable checkpoint"),
        (None, "no such file"),
    ],
)
def test_files_that_hold_no_weights_are_refused(place, content, message, capsys):
    if isinstance(content, bytes):
        (place / "net.pth").write_bytes(content)
    elif content is not None:
        torch.save(content, place / "net.pth")
    with pytest.raises(UserError, match=message):
        custom(place, checkpoint="net.pth").load()
    assert capsys.readouterr().out == ""


def test_a_torchscript_program_and_a_folder_are_told_apart(place):
    torch.jit.trace(custom(place).build().eval(), torch.zeros(1, 1, 8, 8)).save(str(place / "net.pt"))
    with pytest.raises(UserError, match=r"a TorchScript program; save torch\.jit\.load\(path\)\.state_dict\(\)"):
        custom(place, checkpoint="net.pt").load()
    with pytest.raises(UserError, match="a folder; give"):
        custom(place, checkpoint=str(place)).load()


def test_layers_keep_the_names_that_the_user_knows_when_noise_is_predicted(place):
    model = custom(place, predicts="noise", keep_layers=("body.0",))
    assert model.keep_layers == ("network.body.0",)
    assert custom(place, predicts="noise", keep_layers=model.keep_layers).keep_layers == model.keep_layers


def test_weights_that_are_not_finite_are_refused(place):
    _, path = saved(place, lambda state: state | {"body.0.bias": torch.full((4,), np.nan)})
    with pytest.raises(UserError, match=r"'body.0.bias' holds values that are not finite"):
        custom(place, checkpoint=path).load()


def test_settings_out_of_range_are_refused(place):
    with pytest.raises(UserError, match=r"model.predicts=noisy: .*did you mean 'noise'"):
        custom(place, predicts="noisy")
    with pytest.raises(UserError, match=r"model.checkpoint=null"):
        custom(place).load()


def test_a_class_of_torch_is_a_factory():
    assert isinstance(Custom("torch.nn:Conv2d", None, {"in_channels": 1, "out_channels": 2, "kernel_size": 3}).build(), nn.Conv2d)
