"""The unguided series that a guide learns from: no copies, as mixed as the set, each class."""

import dataclasses

import numpy as np
import pytest
import torch

from configs import load_config
from data_preprocess.model_space.encoding import decode, encode
from tardiff.from_config import load, session_of
from tardiff.generation.batches import Drawn
from tardiff.generation.density_ratio import DensityRatio
from tardiff.generation.pool import as_released
from tardiff.generation.session import FEWEST_PER_CLASS
from tardiff.guidance.guided_denoiser import GuidanceStats


@pytest.mark.parametrize("seen", [False, True])
def test_no_copy_of_any_stay_that_the_generator_saw(trained, monkeypatch, seen):
    """A model says itself whether it was trained on the guidance rows too."""
    loaded = load(load_config([*trained[1], "generation.counts=[12,6]", "guidance=none"]))
    model = dataclasses.replace(loaded.model, with_guide=seen)
    loaded = dataclasses.replace(loaded, model=model)
    rows = encode(loaded.splits.normaliser, loaded.splits.val_guide.take(np.arange(4)))

    def planted(job, *_, **__):
        return Drawn(
            torch.cat([rows, torch.randn(len(job.y) - 4, *rows.shape[1:])]), GuidanceStats()
        )

    monkeypatch.setattr("tardiff.generation.session.sample_batches", planted)
    copies = session_of(loaded).unguided.copies
    assert copies is not None and copies.copies == (4 if seen else 0)


def test_the_guide_learns_from_no_copy_either(trained):
    """A guide file holds the series that it was trained on."""
    loaded = load(load_config([*trained[1], "generation.counts=[12,6]", "guidance=none"]))
    session = session_of(loaded)
    first = session.guide_series()
    split = loaded.splits.val_guide
    values = split.values.copy()
    values[:4] = decode(loaded.splits.normaliser, first.x[:4])[0]
    seen = dataclasses.replace(split, values=values)
    again = dataclasses.replace(session, trained_on=seen).guide_series()
    same = (again.x == first.x).flatten(1).all(1)
    assert not same[:4].any() and same.float().mean() > 0.5


@pytest.mark.parametrize(("ratio", "sets"), [(1.0, 1), (0.4, 3)])
def test_the_guide_of_a_resampled_pool_sees_the_mixture_of_the_set(
    trained, monkeypatch, ratio, sets
):
    """The set itself, or as little more of the pool as makes it as large as the training split."""
    asked = ["guidance=none", "generation.resample=always", f"generation.ratio={ratio}"]
    loaded = load(load_config([*trained[1], *asked]))
    monkeypatch.setattr(
        "tardiff.generation.pool.density_ratio",
        lambda real, made, **_: DensityRatio(torch.linspace(-3, 3, len(made.y)).double(), 0.7, 1.0),
    )
    session = session_of(loaded)
    guide, made = session.guide_series(), as_released(session.unguided, loaded.splits)
    assert len(guide.y) == sets * len(made.y)
    in_set = (guide.x[:, None] == made.x).flatten(2).all(2).any(1)
    assert in_set.all() if sets == 1 else not in_set.all()


def test_a_class_with_too_few_series_in_the_pool_gets_new_ones(trained):
    """Else the guide knows it from three series, or from none of them."""
    asked = ["guidance=none", "generation.resample=never", "generation.counts=[200,3]"]
    loaded = load(load_config([*trained[1], *asked]))
    counts = session_of(loaded).guide_series().y.bincount()
    assert int(counts.min()) >= FEWEST_PER_CLASS
