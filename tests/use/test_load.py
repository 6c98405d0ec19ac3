import dataclasses
import json

import pytest
import torch

import qprune_cli as qp
from qprune_cli.errors import UserError
from qprune_cli.use.load import NEEDED
from qprune_cli.weights import checkpoint
from tests.processes import alone

IMAGE = torch.rand(2, 3, 37, 51, generator=torch.Generator().manual_seed(0))


def test_load_run_gives_the_network_that_was_measured(finished):
    run = qp.load_run(finished)
    stated = run.metrics["stages"]["refined"]
    assert stated == json.loads((finished / "metrics.json").read_text())["stages"]["refined"]
    assert sum(p.numel() for p in run.model.parameters()) == stated["params"]
    assert run.keep.sum() == stated["filters"] == 32 and run.layout.n == 64 and run.config["sparsity"] == 0.5
    dense = cli_model(run.config)
    with torch.no_grad(), qp.silence(dense, run.layout, run.keep):
        assert torch.allclose(run.model(IMAGE), dense(IMAGE), atol=1e-6)
    assert not run.model.training


def cli_model(config):
    from qprune_cli.compose.build import build

    return build(config["model"], "model").load()


def test_two_loads_and_the_program_agree_bit_for_bit(finished):
    first, second = qp.load_run(finished).model, qp.load_run(str(finished)).model
    program = torch.export.load(finished / "model.pt2").module()
    with torch.no_grad():
        assert torch.equal(first(IMAGE), second(IMAGE)) and torch.allclose(first(IMAGE), program(IMAGE), atol=1e-6)
        assert program(IMAGE[:1, :, :20, :33]).shape == (1, 3, 20, 33)


def denoise_without_dense_weights(folder, given):
    """What a process does that may read no weights but those of the run."""

    def load(path, load=checkpoint.load_file):
        assert "runs" in str(path), "dense weights"
        return load(path)

    checkpoint.load_file = load
    image, output = torch.load(given)
    with torch.no_grad():
        assert torch.equal(qp.load_run(folder).model(image), output)


@pytest.mark.slow
def test_the_saved_network_denoises_in_a_fresh_process_without_its_dense_weights(finished, tmp_path):
    torch.save((IMAGE, qp.load_run(finished).model(IMAGE).detach()), tmp_path / "given.pt")
    alone(denoise_without_dense_weights, finished, tmp_path / "given.pt")


def test_nothing_that_a_run_saves_is_a_pickle(finished):
    for path in finished.iterdir():
        if path.is_file():
            content = path.read_bytes()
            assert b"ctorch\n" not in content and b"data.pkl" not in content and not content.startswith(b"\x80\x02"), path.name


def copied(finished, folder):
    for path in finished.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())


def test_a_folder_that_is_no_finished_run_is_refused(finished, tmp_path):
    with pytest.raises(UserError, match="give the folder of a finished"):
        qp.load_run(tmp_path)
    copied(finished, tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(UserError, match="give the folder of a finished"):
        qp.load_run(tmp_path)


@pytest.mark.parametrize("name", NEEDED)
def test_a_file_that_is_missing_or_altered_is_named(finished, tmp_path, name):
    copied(finished, tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=f"{name}: altered or damaged"):
        qp.load_run(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"{name}: missing" if name != "plan.json" else "give the folder of a finished"):
        qp.load_run(tmp_path)


def test_the_dense_network_is_the_one_that_the_run_began_with(finished, tmp_path):
    copied(finished, tmp_path)
    run = qp.load_run(tmp_path)
    assert sum(p.numel() for p in run.dense().parameters()) == run.metrics["stages"]["dense"]["params"]
    other = dataclasses.replace(run, plan=run.plan | {"sha256": {"dense": "0"}})
    with pytest.raises(UserError, match="the dense weights have changed"):
        other.dense()


@pytest.mark.parametrize("content", ["[]", "{}", '{"files": []}', "{"])
def test_a_manifest_that_is_damaged_is_named(finished, tmp_path, content):
    copied(finished, tmp_path)
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json: (damaged|not readable)"):
        qp.load_run(tmp_path)
