import numpy as np
import pytest
import torch

from classifier.fixed_features import (
    PrincipalAxes,
    RandomConvolutions,
    Standardiser,
    summary_features,
)


def series(n=20, channels=3, length=12, seed=0):
    return torch.randn(n, channels, length, generator=torch.Generator().manual_seed(seed))


def test_random_convolutions_equal_the_loop():
    x = series(4)
    encoder = RandomConvolutions(3, 12, num_kernels=20, seed=1)
    columns = []
    for bank in encoder.banks:
        size = bank.weights.shape[2]
        reach = (size - 1) * bank.dilation
        outputs = torch.stack(
            [
                sum(
                    (x[:, :, t + i * bank.dilation] @ bank.weights[:, :, i].T for i in range(size)),
                    bank.biases,
                )
                for t in range(12 - reach)
            ],
            dim=2,
        )
        columns += [outputs.amax(2), (outputs > 0).float().mean(2)]
    expected = torch.cat(columns, 1).numpy()
    assert encoder(x) == pytest.approx(expected, abs=1e-5)
    assert expected.shape == (4, 40)


def test_features_are_fixed_by_the_seed_and_row_by_row():
    x = series()
    encode = RandomConvolutions(3, 12, num_kernels=16, seed=5)
    assert np.array_equal(encode(x), RandomConvolutions(3, 12, num_kernels=16, seed=5)(x))
    assert not np.allclose(encode(x), RandomConvolutions(3, 12, num_kernels=16, seed=6)(x))
    assert encode(x)[7:8] == pytest.approx(encode(x[7:8]), abs=1e-6)


@pytest.mark.parametrize(("channels", "length"), [(1, 4), (2, 5), (40, 288)])
def test_any_shape(channels, length):
    encode = RandomConvolutions(channels, length, num_kernels=30, seed=0)
    assert np.isfinite(encode(series(3, channels, length))).all()


def test_standardiser_and_axes_by_hand():
    reference = np.array([[0.0, 5.0], [2.0, 5.0]])
    assert Standardiser(reference)(np.array([[3.0, 6.0]])).tolist() == [[2.0, 1.0]]
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 3)) @ np.array([[1, 1, 0], [0, 0.1, 0], [0, 0, 1.0]])
    axes = PrincipalAxes(rows, 3)
    projected = axes(rows)
    assert np.cov(projected, rowvar=False) == pytest.approx(
        np.diag(np.sort(np.linalg.eigvalsh(np.corrcoef(rows, rowvar=False)))[::-1]), abs=0.01
    )


def test_summary_features_of_a_ramp():
    x = torch.linspace(0, 3, 4).repeat(2, 2, 1)
    row = summary_features(x)[0].reshape(-1)
    assert row[:2] == pytest.approx(1.5) and row[4:6] == pytest.approx(0)  # mean, minimum
    assert row[-1] == pytest.approx(1.0)  # correlation of equal channels
    assert row[12:14] == pytest.approx(1.5)  # slope per half window
