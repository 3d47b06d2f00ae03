import numpy as np
import pytest
import torch
from skimage.data import camera
from skimage.exposure import equalize_adapthist

from sonoseg.models.rivals.mrfe_cnn import equalize


def reference(image, tiles=8, limit=2.0):
    """CLAHE, pixel by pixel: a table of each tile, and between the four tables around a pixel a plane."""
    grey = np.rint(image * 255).astype(int)
    height, width = (length // tiles for length in grey.shape)
    tables = np.empty((tiles, tiles, 256))
    for row in range(tiles):
        for column in range(tiles):
            tile = grey[
                row * height : (row + 1) * height, column * width : (column + 1) * width
            ]
            counts = np.bincount(tile.ravel(), minlength=256).astype(float)
            ceiling = limit * tile.size / 256
            excess = np.maximum(counts - ceiling, 0).sum()
            tables[row, column] = (
                np.cumsum(np.minimum(counts, ceiling) + excess / 256) / tile.size
            )
    out = np.empty(grey.shape)
    for (y, x), level in np.ndenumerate(grey):
        across, down = (
            min(max((p + 0.5) / n - 0.5, 0), tiles - 1)
            for p, n in ((x, width), (y, height))
        )
        left, top = int(across), int(down)
        right, bottom = min(left + 1, tiles - 1), min(top + 1, tiles - 1)
        upper, lower = (
            np.interp(
                across,
                [left, left + 1],
                [tables[row, left, level], tables[row, right, level]],
            )
            for row in (top, bottom)
        )
        out[y, x] = np.interp(down, [top, top + 1], [upper, lower])
    return out


@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
def test_clahe_is_that_of_the_reference(size):
    image = np.random.default_rng(0).beta(2, 5, size).astype(np.float32)
    found = equalize(torch.from_numpy(image)[None, None])[0, 0]
    np.testing.assert_allclose(found.numpy(), reference(image), atol=1e-5)


def test_clahe_does_about_what_scikit_image_does():
    image = camera()[::2, ::2].astype(np.float32) / 255
    found = equalize(torch.from_numpy(image)[None, None])[0, 0].numpy()
    theirs = equalize_adapthist(image, kernel_size=32, clip_limit=2 / 256, nbins=256)
    assert np.corrcoef(found.ravel(), theirs.ravel())[0, 1] > 0.97


def test_images_of_a_batch_are_equalised_one_by_one():
    batch = torch.rand(3, 1, 32, 64) * torch.tensor([1, 0.5, 0.1]).view(3, 1, 1, 1)
    assert torch.equal(equalize(batch)[1:2], equalize(batch[1:2]))
    assert equalize(torch.zeros(1, 1, 32, 32)).isfinite().all()
