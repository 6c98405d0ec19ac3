import numpy as np

from qprune_cli.evaluate.masked import silenced_psnr
from qprune_cli.evaluate.metric import MaskPsnr
from qprune_cli.types import ImageSet


def test_metric_is_the_psnr_of_the_silenced_network(small_model, small_layout, small_splits):
    images = small_splits.refinement
    rng = np.random.default_rng(0)
    near = rng.uniform(size=small_layout.n) < 0.5
    keep = np.stack([near, *(near ^ (rng.uniform(size=small_layout.n) < share) for share in (0.02, 0.05, 0.5))])
    chosen = np.arange(len(images))[::-2]
    found = MaskPsnr(small_model, small_layout, images).measure(keep, chosen, near)
    for mask, row in zip(keep, found, strict=True):
        true = [silenced_psnr(small_model, small_layout, mask, ImageSet((images.pairs[k],))) for k in chosen]
        assert np.abs(row - true).max() < 1e-4
