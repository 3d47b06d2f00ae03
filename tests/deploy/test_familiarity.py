import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from sonoseg.deploy.familiarity import COMPONENTS, MAPS, MARGIN, QUANTILE, Familiarity


def test_the_distance_is_what_principal_components_leave_out():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(COMPONENTS + 20, COMPONENTS + 20, generator=generator)
    known, others = (
        torch.randn(n, COMPONENTS + 20, generator=generator) @ mixing + 3
        for n in (300, 50)
    )
    familiarity = Familiarity.fit(known, others)
    mean, deviation = known.numpy().mean(0), known.numpy().std(0, ddof=1)
    reference = PCA(COMPONENTS, svd_solver="full").fit(
        (known.numpy() - mean) / deviation
    )
    scaled = (others.numpy() - mean) / deviation
    left = scaled - reference.inverse_transform(reference.transform(scaled))
    expected = np.sqrt((left**2).mean(1))
    np.testing.assert_allclose(
        familiarity.distance(others).numpy(), expected, rtol=1e-3
    )
    assert float(familiarity.limit) == pytest.approx(
        MARGIN * np.quantile(expected, QUANTILE), rel=1e-3
    )


def test_the_summary_is_each_channels_mean_and_deviation():
    maps = [torch.rand(3, channels, 8, 8) for channels in (4, 5, 6, 7)]
    summary = Familiarity.summary(maps)
    assert summary.shape == (3, 2 * (4 + 5 + 6))
    expected = [m.mean((2, 3)) for m in maps[:MAPS]] + [
        m.std((2, 3), correction=0) for m in maps[:MAPS]
    ]
    torch.testing.assert_close(summary, torch.cat(expected, 1), rtol=1e-4, atol=1e-5)


def test_few_images_and_flat_maps_give_finite_answers():
    flat = [torch.zeros(2, 3, 4, 4)] * 3
    familiarity = Familiarity.fit(Familiarity.summary(flat), Familiarity.summary(flat))
    assert torch.isfinite(familiarity(flat)).all()
    assert (familiarity([m + 1 for m in flat]) > 1).all()
