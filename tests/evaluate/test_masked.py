import numpy as np

from qprune_cli.evaluate.masked import metric, qualities, shrunk
from qprune_cli.evaluate.quality import judge, outputs


def test_metric_is_the_mean_psnr_and_counts_distinct_masks(small_model, small_layout, small_splits):
    images = small_splits.refinement
    measured = metric(small_model, small_layout, images)
    everything = np.ones(small_layout.n, bool)
    half = np.arange(small_layout.n) % 2 == 0
    values = measured.measure(np.stack([everything, half, everything]))
    assert np.isclose(values[0], judge(outputs(small_model, images), images).psnr.mean())
    assert values[0] == values[2] != values[1]
    assert measured.spent() == 2


def test_stages_with_the_same_mask_have_the_same_quality(small_model, small_layout, small_splits):
    half = np.arange(small_layout.n) % 2 == 0
    networks = shrunk(small_model, small_layout, {"dense": ~half | half, "solved": half, "refined": half.copy()})
    found = qualities(networks, small_splits.test)
    assert networks["dense"] is small_model and networks["solved"] is networks["refined"]
    assert found["solved"] is found["refined"]
    assert not np.array_equal(found["dense"].psnr, found["solved"].psnr)
