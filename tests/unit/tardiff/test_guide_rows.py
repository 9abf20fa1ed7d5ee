"""Which unguided series a guide is trained on: no class is lost to the draw."""

import pytest
import torch

from configs.runtime.errors import DataError
from tardiff.generation.session import FEWEST_PER_CLASS, MOST_GUIDE_ROWS, rows_for_guide
from tardiff.influence.boosted_guide import fit_boosted_guide
from tardiff.influence.convex_guide import fit_guide


def labels(*counts: int) -> torch.Tensor:
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def drawn(y: torch.Tensor) -> torch.Tensor:
    return torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:MOST_GUIDE_ROWS]


@pytest.mark.parametrize("counts", [(6000, 3), (60_000, 40), (20_000, 500, 33)])
def test_a_rare_class_is_kept(counts):
    y = labels(*counts)
    rows = rows_for_guide(y)
    assert len(rows) == len(rows.unique()) == MOST_GUIDE_ROWS
    fewest = [min(count, FEWEST_PER_CLASS) for count in counts]
    assert all(found >= few for found, few in zip(y[rows].bincount(), fewest, strict=True))
    plain = y[drawn(y)].bincount(minlength=len(counts))
    assert any(found < few for found, few in zip(plain, fewest, strict=True))  # else no test


@pytest.mark.parametrize("counts", [(60, 3), (4000, 96), (9000, 1000)])
def test_where_no_class_falls_short_the_draw_is_plain(counts):
    y = labels(*counts)
    torch.testing.assert_close(rows_for_guide(y), drawn(y))


@pytest.mark.parametrize("counts", [(200, 1), (200, 0), (200, 50, 1)])
def test_a_guide_needs_two_series_of_every_class(counts):
    y, classes = labels(*counts), len(counts)
    x = torch.randn(len(y), 1, 4, dtype=torch.float64)
    for fit in (
        lambda: fit_guide(x[:, 0], y, num_classes=classes, penalty=0.1),
        lambda: fit_boosted_guide(
            x, y, features=lambda x: x[:, 0].numpy(), num_classes=classes, seed=0
        ),
    ):
        with pytest.raises(DataError, match=r"series of the \d classes: expected two of each"):
            fit()
