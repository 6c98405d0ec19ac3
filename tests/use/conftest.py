import pytest

from qprune_cli import cli


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Folder of a finished run; nothing was re-fitted, so its network is the silenced dense one."""
    root = tmp_path_factory.mktemp("run")
    assert cli.dispatch(["run", "experiment=smoke", "compensate=none", f"output_root={root}"]) == 0
    (folder,) = (root / "runs").iterdir()
    return folder
