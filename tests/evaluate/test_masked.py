import numpy as np

from qprune_cli.evaluate.masked import qualities, shrunk
from qprune_cli.evaluate.restoration import Restoration


def test_stages_with_the_same_mask_have_the_same_quality(small_model, small_layout, small_splits):
    half = np.arange(small_layout.n) % 2 == 0
    networks = shrunk(small_model, small_layout, {"dense": ~half | half, "solved": half, "refined": half.copy()})
    found = qualities(Restoration(), networks, small_splits.test)
    assert networks["dense"] is small_model and networks["solved"] is networks["refined"]
    assert found["solved"] is found["refined"]
    assert not np.array_equal(found["dense"]["psnr"], found["solved"]["psnr"])
