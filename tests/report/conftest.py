import pytest

from tests.report.folders import write_whole


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Folder of a run that has left everything."""
    return write_whole(tmp_path_factory.mktemp("whole") / "run")
