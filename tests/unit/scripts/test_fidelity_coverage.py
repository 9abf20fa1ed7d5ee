import numpy as np
import pytest
import torch

from scripts.quality.fidelity.coverage import support_scores, unique_share


def brute_force(real, other, k):
    def radii(points):
        gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
        return np.sort(gaps, axis=1)[:, k]

    gaps = np.linalg.norm(real[:, None] - other[None], axis=2)
    inside_real = gaps < radii(real)[:, None]
    inside_other = gaps < radii(other)[None]
    return {
        "precision": inside_real.any(0).mean(),
        "recall": inside_other.any(1).mean(),
        "density": inside_real.sum() / (k * len(other)),
        "coverage": inside_real.any(1).mean(),
    }


def test_equals_the_definitions_spelled_out():
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=(60, 3)), rng.normal(0.5, 0.6, size=(60, 3))
    found = support_scores(torch.from_numpy(real), torch.from_numpy(other), neighbours=4)
    assert found == pytest.approx(brute_force(real, other, 4))


def test_two_samples_of_one_distribution_reach_the_known_values():
    first, second = torch.randn(2, 3000, 4, generator=torch.Generator().manual_seed(0))
    found = support_scores(first, second, neighbours=3)
    assert found["density"] == pytest.approx(1.0, abs=0.05)
    assert found["coverage"] == pytest.approx(1 - 2**-3, abs=0.02)


def test_far_clouds_share_nothing_and_a_collapse_has_precision_without_recall():
    generator = torch.Generator().manual_seed(1)
    real = torch.randn(300, 3, generator=generator)
    assert set(support_scores(real, real + 100).values()) == {0.0}
    collapsed = 1e-3 * torch.randn(300, 3, generator=generator)
    found = support_scores(real, collapsed)
    assert found["precision"] == 1.0 and found["recall"] < 0.05 and found["coverage"] < 0.2


def test_unique_share_counts_distinct_series():
    values = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    assert unique_share(values) == 1.0
    assert unique_share(values[[0, 0, 1, 2, 2]]) == 0.6
