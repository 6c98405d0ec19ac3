from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from qprune_cli.errors import UserError
from qprune_cli.images.image import to_floats
from qprune_cli.model.half_unet import HalfUNet
from qprune_cli.use.tiles import GRID, Tiling, denoise, enough_overlap, tiled

TILINGS = st.integers(2, 8).flatmap(lambda k: st.builds(Tiling, st.just(k * GRID), st.integers(0, (k - 1) * GRID)))


@given(TILINGS, st.integers(1, 3000))
def test_weights_cover_every_pixel_and_sum_to_one(tiling, length):
    total = np.zeros(length)
    for (start, stop), weights in zip(tiling.spans(length), tiling.weights(length), strict=True):
        assert weights.dtype == np.float32 and len(weights) == stop - start and weights.min() >= 0
        total[start:stop] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


@given(TILINGS, st.integers(1, 3000))
def test_tiles_begin_on_the_grid_overlap_enough_and_only_the_last_is_smaller(tiling, length):
    spans = tiling.spans(length)
    assert spans[0][0] == 0 and spans[-1][1] == length and all(start % GRID == 0 for start, _ in spans)
    if len(spans) > 1:
        assert all(stop - start == tiling.tile for start, stop in spans[:-1])
        assert tiling.tile - GRID < spans[-1][1] - spans[-1][0] <= tiling.tile
        assert all(first[1] - second[0] >= tiling.overlap for first, second in pairwise(spans))
    else:
        assert length <= tiling.tile


def test_neighbouring_weights_never_step():
    for weights in Tiling(128, 64).weights(1000):
        assert np.abs(np.diff(weights)).max() <= 1 / 16 + 1e-6


def two_layers(channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, channels, 5, padding=2)).eval()


def pixels(channels: int, height: int, width: int, dtype: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, (channels, height, width), dtype, endpoint=True)


def whole(model: nn.Module, image: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(to_floats(image)[None]))[0].numpy()


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (65, 300), (300, 20), (130, 161)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_that_looks_not_far_gives_the_same_in_tiles(size, channels):
    model, image = two_layers(channels), pixels(channels, *size)
    bands = list(tiled(model, image, Tiling(64, 32)))
    np.testing.assert_allclose(np.concatenate(bands, axis=1), whole(model, image), atol=1e-6)


@settings(max_examples=25)
@given(height=st.integers(1, 200), width=st.integers(1, 200), overlap=st.integers(11, 64))
def test_tiles_equal_the_whole_for_any_size(height, width, overlap):
    model, image = two_layers(1), pixels(1, height, width)
    found = np.concatenate(list(tiled(model, image, Tiling(96, overlap))), axis=1)
    np.testing.assert_allclose(found, whole(model, image), atol=1e-6)


def test_a_network_that_halves_the_resolution_sees_the_pixels_that_it_pools_in_the_whole():
    torch.manual_seed(0)
    model = HalfUNet(width=2, depth=3).build().eval()  # looks 18 pixels far
    image = pixels(3, 203, 331)
    found = np.concatenate(list(tiled(model, image, Tiling(128, 64))), axis=1)
    np.testing.assert_allclose(found, whole(model, image), atol=1e-6)


def test_images_no_larger_than_a_tile_are_one_call():
    calls = []
    model = two_layers()
    model.register_forward_hook(lambda _, inputs, __: calls.append(inputs[0].shape))
    (band,) = tiled(model, pixels(3, 60, 64), Tiling(64, 32))
    assert calls == [(1, 3, 60, 64)] and np.array_equal(band, whole(model, pixels(3, 60, 64)))


def test_only_a_band_is_held_as_floats(monkeypatch):
    """No tile and no band has more rows than a tile; bands come one by one, before the next row of tiles is computed."""
    calls, heights = [], []
    model = two_layers()
    model.register_forward_hook(lambda _, inputs, __: calls.append(inputs[0].shape))
    floats = []
    monkeypatch.setattr("qprune_cli.use.tiles.to_floats", lambda cut: floats.append(cut.shape) or to_floats(cut))
    tiling, image = Tiling(64, 32), pixels(3, 1000, 100)
    for k, band in enumerate(tiled(model, image, tiling), start=1):
        assert len(calls) == k * len(tiling.spans(100)) and (band.base is None or band.base.shape[1] <= 64)
        heights.append(band.shape[1])
    assert sum(heights) == 1000 and max(heights) <= 64 and max(shape[1] for shape in floats) == 64
    assert all(shape[2:] in ((64, 64), (64, 36), (40, 64), (40, 36), (64, 68)) for shape in calls)


def test_every_tile_is_reported():
    done = []
    tiling = Tiling(64, 0)
    list(tiled(two_layers(), pixels(3, 200, 130), tiling, lambda: done.append(1)))
    assert len(done) == tiling.count(200, 130) == 4 * 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_network_that_changes_nothing_keeps_every_bit(dtype):
    image = pixels(3, 150, 97, dtype)
    result = denoise(nn.Identity(), image, Tiling(64, 32))
    assert result.dtype == dtype and np.array_equal(result, image)


def test_results_are_clipped_and_floats_stay_floats():
    class Double(nn.Module):
        def forward(self, x):
            return 3 * x - 1

    image = pixels(1, 70, 70)
    assert denoise(Double(), image, Tiling(64, 32)).tolist() == np.clip(3 * image.astype(int) - 255, 0, 255).tolist()
    found = denoise(Double(), to_floats(image), Tiling(64, 32))
    assert found.dtype == np.float32 and found.min() == 0 and found.max() == 1


class Mean(nn.Module):
    def forward(self, x):
        return x - x.mean(dim=(2, 3), keepdim=True)


@pytest.mark.parametrize(
    ("model", "overlap"),
    [
        (nn.Identity(), 0),
        (nn.Conv2d(3, 3, 25, padding=12), 32),
        (nn.Conv2d(3, 3, 27, padding=13), 64),
        (nn.Conv2d(3, 3, (1, 49), padding=(0, 24)), 64),
        (nn.Conv2d(3, 3, 3, padding=100, dilation=100), 128),
        (Mean(), 128),
    ],
)
def test_the_overlap_follows_how_far_a_network_looks(model, overlap):
    assert enough_overlap(model, 3, 512) == overlap


def test_a_network_that_looks_at_the_mean_leaves_no_step_at_a_border():
    image = np.zeros((1, 600, 600), np.uint8)
    image[:, :, 300:] = 255  # the tiles' means differ as much as they can
    found = np.concatenate(list(tiled(Mean(), image, Tiling(256, 128))), axis=1)
    error = found - (to_floats(image) - 0.5)
    assert np.ptp(error) > 0.5 and np.abs(np.diff(error, axis=1)).max() < 1e-6 and np.abs(np.diff(error, axis=2)).max() < 1 / 32


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tile": 100}, "--tile 100: give a multiple of 32"),
        ({"tile": 32}, "--tile 32: give a multiple of 32, at least 64"),
        ({"tile": 64, "overlap": 40}, "--overlap 40: give 0 to 32 pixels"),
        ({"overlap": -1}, "--overlap -1"),
    ],
)
def test_tilings_that_make_no_sense_are_refused(asked, said):
    with pytest.raises(UserError, match=said):
        Tiling(**asked)


class Halved(nn.Module):
    def forward(self, x):
        return x[:, :, ::2]


class Infinite(nn.Module):
    def forward(self, x):
        return x / 0


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Conv2d(1, 1, 3), "it must give one of the same shape"),
        (nn.Conv2d(5, 5, 3), "does not take 70 x 60 pixels"),
        (Halved(), r"gives \[1, 1, 30, 70\]"),
        (nn.LSTM(70, 70), "does not take|gives a tuple"),
        (Infinite(), "not finite"),
    ],
)
def test_networks_that_make_no_image_are_refused(model, said):
    with pytest.raises(UserError, match=said):
        denoise(model, pixels(1, 60, 70), Tiling(128, 32))


@pytest.mark.parametrize(("tile", "overlap"), [(64, 32), (128, 64), (160, 64), (256, 128), (1024, 128)])
def test_tiles_overlap_by_half_at_most(tile, overlap):
    assert enough_overlap(Mean(), 1, tile) == overlap
