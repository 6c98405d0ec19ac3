import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import qprune_cli as qp
from qprune_cli import cli
from qprune_cli.errors import UserError
from qprune_cli.record.onnx import write_onnx
from qprune_cli.record.program import exported
from qprune_cli.use import export as module
from tests.conftest import write_pairs

ALONE = """
import sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
data = np.load(sys.argv[2])
for k in range(2):
    found = session.run(None, {"image": data[f"image{k}"]})[0]
    assert np.abs(found - data[f"wanted{k}"]).max() < 1e-4, k
assert not {"torch", "qprune_cli"} & set(sys.modules)
"""


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of a finished run, which may be written into."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.exports
def test_onnxruntime_alone_gives_the_same_at_any_size(finished, tmp_path):
    path = tmp_path / "small.onnx"
    assert cli.dispatch(["export", str(finished), "--format", "onnx", "--output", str(path)]) == 0
    small, data = qp.load_run(finished).model, {}
    for k, shape in enumerate([(1, 3, 50, 70), (4, 3, 33, 19)]):
        image = torch.rand(shape)
        data |= {f"image{k}": image.numpy(), f"wanted{k}": small(image).detach().numpy()}
    np.savez(tmp_path / "data.npz", **data)
    subprocess.run([sys.executable, "-c", ALONE, str(path), str(tmp_path / "data.npz")], check=True)
    report = json.loads((tmp_path / "small.onnx.json").read_text())
    assert report["any_number_and_size"] and len({tuple(entry["shape"]) for entry in report["checked"]}) == 2
    assert all(entry["largest_difference"] < 1e-4 for entry in report["checked"])


@pytest.mark.exports
@pytest.mark.slow
def test_the_program_of_the_run_is_checked_and_another_can_be_written(copied, tmp_path, capsys):
    assert cli.dispatch(["export", str(copied), "--format", "pt2"]) == 0
    assert "differs from PyTorch by at most" in capsys.readouterr().out
    program, image = torch.export.load(copied / "model.pt2").module(), torch.rand(3, 3, 40, 31)
    assert torch.allclose(program(image), qp.load_run(copied).model(image), atol=1e-6)
    other = tmp_path / "other.pt2"
    assert cli.dispatch(["export", str(copied), "--format", "pt2", "--output", str(other)]) == 0
    assert b"data.pkl" not in other.read_bytes() and json.loads((tmp_path / "other.pt2.json").read_text())["any_number_and_size"]


def test_what_cannot_be_asked_is_refused(finished, tmp_path):
    there = tmp_path / "there.onnx"
    there.write_text("mine")
    for arguments, why in (
        ([str(finished), "--format", "tflite"], "no such format"),
        ([str(finished), "--output", str(there)], "exists already"),
        ([str(finished), "--output", str(tmp_path / "x.pt2")], "does not end in .onnx"),
        ([str(tmp_path)], "give the folder of a finished"),
        ([], "the following arguments are required: RUN"),
    ):
        with pytest.raises(UserError, match=why):
            cli.dispatch(["export", *arguments])
    assert there.read_text() == "mine"


def test_a_package_that_is_missing_is_named(finished, monkeypatch):
    monkeypatch.setattr("qprune_cli.record.onnx.find_spec", lambda name: None if name == "onnxscript" else True)
    with pytest.raises(UserError, match=r"needs onnxscript; install them with: pip install 'qprune\[export\]'"):
        cli.dispatch(["export", str(finished)])


class Unknown(nn.Module):
    """Uses an operation that ONNX has no operator for."""

    def forward(self, x):
        return torch.special.bessel_j0(x)


@pytest.mark.exports
@pytest.mark.slow
def test_an_operation_without_onnx_operator_is_named(tmp_path):
    program, _ = exported(nn.Sequential(nn.Conv2d(1, 1, 1), Unknown()), (1, 16, 16), any_size=True)
    with pytest.raises(UserError, match=r"ONNX has no operator for 'prims.bessel_j0'.*--format pt2"):
        write_onnx(program, tmp_path / "x.onnx", "restored")


@pytest.mark.exports
@pytest.mark.slow
def test_a_file_that_computes_something_else_is_not_kept(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_runner", lambda path: lambda image: image + 1)
    with pytest.raises(UserError, match="the file differs from PyTorch by"):
        cli.dispatch(["export", str(finished), "--format", "pt2", "--output", str(tmp_path / "wrong.pt2")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.exports
@pytest.mark.slow
def test_the_program_of_a_run_stays_where_it_differs(copied, monkeypatch):
    monkeypatch.setattr(module, "_runner", lambda path: lambda image: image + 1)
    before = (copied / "model.pt2").read_bytes()
    with pytest.raises(UserError, match="the file differs from PyTorch by"):
        cli.dispatch(["export", str(copied), "--format", "pt2"])
    assert (copied / "model.pt2").read_bytes() == before


class Even(nn.Module):
    """Takes even sides only."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 4, 2, stride=2), nn.ConvTranspose2d(4, 3, 2, stride=2)

    def forward(self, x):
        return x + self.up(torch.relu(self.down(x)))


@pytest.mark.exports
def test_sizes_that_a_network_refuses_are_said(finished, tmp_path, monkeypatch, capsys):
    run = dataclasses.replace(qp.load_run(finished), model=Even().eval())
    monkeypatch.setattr(module, "load_run", lambda folder: run)
    assert cli.dispatch(["export", str(finished), "--format", "pt2", "--output", str(tmp_path / "even.pt2")]) == 0
    report, said = json.loads((tmp_path / "even.pt2.json").read_text()), capsys.readouterr()
    assert not report["any_number_and_size"] and len(report["checked"]) == 2 and "not every size" in said.out
    assert "Traceback" not in said.err


def test_evaluate_measures_small_and_dense_on_other_images(finished, tmp_path, capsys):
    write_pairs(tmp_path / "images", count=4)
    asked = ["data=pairs", f"data.root={tmp_path / 'images'}", "data.shares=[0,0,0,1]", f"output_root={tmp_path}"]
    assert cli.dispatch(["evaluate", str(finished), *asked]) == 0
    (folder,) = (tmp_path / "evaluations").iterdir()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics["stages"]) == {"dense", "pruned"} and metrics["stages"]["pruned"]["psnr"]["n"] == 4
    small, pair = qp.load_run(finished).model, np.load(finished / "mask.npz")["keep"]
    assert metrics["stages"]["pruned"]["filters"] == pair.sum()
    assert metrics["stages"]["pruned"]["params"] == sum(p.numel() for p in small.parameters())
    assert {path.name for path in (folder / "crops").iterdir()} == {"worst.png", "median.png", "best.png"}


def test_evaluate_on_the_data_of_the_run_gives_what_the_run_gave(finished, tmp_path):
    config = qp.load_run(finished).config["data"]
    asked = [f"data.{name}={config[name]}" for name in ("seed", "block_size")]
    assert cli.dispatch(["evaluate", str(finished), "data=sample", *asked, f"output_root={tmp_path}"]) == 0
    (folder,) = (tmp_path / "evaluations").iterdir()
    found = json.loads((folder / "metrics.json").read_text())["stages"]["pruned"]
    stated = qp.load_run(finished).metrics["stages"]["compensated"]
    assert np.isclose(found["psnr"]["mean"], stated["psnr"]["mean"], atol=1e-3) and found["macs"] == stated["macs"]
    assert found["file_bytes"] == (finished / "model.safetensors").stat().st_size


def test_evaluate_without_the_dense_weights_says_so_and_measures_the_small_one(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("qprune_cli.use.load.weights_digest", lambda model: "others")
    assert cli.dispatch(["evaluate", str(finished), f"output_root={tmp_path}"]) == 0
    (folder,) = (tmp_path / "evaluations").iterdir()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics["stages"]) == {"pruned"} and "the dense network is not measured" in metrics["warnings"][0]


def test_evaluate_refuses_what_does_not_fit(finished, tmp_path):
    for arguments, why in (
        ([], "give the folder of a finished run first"),
        (["data=sample"], "give the folder of a finished run first"),
        ([str(tmp_path)], "give the folder of a finished `qprune run`"),
        ([str(finished), "data.channels=1"], "takes 3; set data.channels=3"),
        ([str(finished), "data=sampel"], "did you mean 'sample'"),
        ([str(finished), "solver=greedy"], "solver"),
    ):
        with pytest.raises(UserError, match=why):
            cli.dispatch(["evaluate", *arguments])


def test_a_network_that_was_rebuilt_otherwise_is_refused(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("qprune_cli.use.load.fingerprints_match", lambda first, second: False)
    with pytest.raises(UserError, match="does not compute what it did"):
        qp.load_run(finished)
