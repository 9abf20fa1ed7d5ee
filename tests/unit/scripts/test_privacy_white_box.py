"""White-box membership attack: toys whose best attack is known, calibration, and its guarantees."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from scripts.quality.privacy.white_box import Suspects, membership_scores, white_box_report
from tardiff.privacy.denoising_loss import denoising_losses
from tests.support.oracles import KernelDenoiser, gaussian_denoiser

SIZE = 150
CPU = torch.device("cpu")


def population(seed, size=SIZE, spread=0.0):
    """Series of two channels; `spread` makes some series harder to denoise than others."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.exp(spread * torch.randn(size, 1, 1, generator=generator))
    return scale * torch.randn(size, 2, 6, generator=generator), torch.arange(size) % 2


def suspects(denoiser, rows):
    x, y = rows
    return Suspects(x=x, y=y.numpy(), losses=denoising_losses(denoiser, x, y, device=CPU).numpy())


def groups(spread=0.0):
    return [population(seed, spread=spread) for seed in range(3)]


class Blend:
    """A Gaussian's exact denoiser that has learned `share` of its members by heart."""

    def __init__(self, members, share):
        self.exact, self.share = gaussian_denoiser(0.0, 1.0), share
        self.remembers = KernelDenoiser(*members, width=0.1)

    def __call__(self, x_t, log_snr, y):
        exact = self.exact(x_t, log_snr, y)
        return exact + self.share * (self.remembers(x_t, log_snr, y) - exact)


def test_the_exact_denoiser_of_the_population_gives_nobody_away():
    members, others, known = groups()
    report = white_box_report(
        *(suspects(gaussian_denoiser(0.0, 1.0), rows) for rows in (members, others, known)), 2
    )
    assert report.values["white_box_auc_low"] < 0.5 < report.values["white_box_auc_high"]
    assert report.values["white_box_tpr1_p"] > 0.01


def test_a_denoiser_that_knows_its_members_by_heart_is_caught():
    """Nearness to a member decides here without an error: the best attack has AUC 1."""
    members, others, known = groups()
    denoiser = KernelDenoiser(*members, width=0.1)
    report = white_box_report(*(suspects(denoiser, rows) for rows in (members, others, known)), 2)
    assert report.values["white_box_auc"] > 0.99
    assert report.values["white_box_tpr10"] > 0.95 and report.values["white_box_tpr1"] > 0.9
    assert report.values["white_box_tpr1_p"] < 1e-6


def test_what_makes_a_series_difficult_is_taken_out():
    members, others, known = groups(spread=0.6)
    found = [suspects(Blend(members, 0.15), rows) for rows in (members, others, known)]
    is_member = np.repeat([1, 0], SIZE)
    raw = np.concatenate([-np.log(each.losses).mean(1) for each in found[:2]])
    scores = np.concatenate([membership_scores(each, found[2], 2) for each in found[:2]])
    assert roc_auc_score(is_member, scores) > roc_auc_score(is_member, raw) + 0.05


def test_losses_do_not_depend_on_the_batch_and_are_repeatable():
    x, y = population(0, size=10)
    denoiser = gaussian_denoiser(0.0, 1.0)
    whole = denoising_losses(denoiser, x, y, device=CPU, batch_size=10)
    torch.testing.assert_close(denoising_losses(denoiser, x, y, device=CPU, batch_size=3), whole)
    assert not torch.equal(denoising_losses(denoiser, x, y, device=CPU, seed=1), whole)


def test_the_loss_is_that_of_the_closed_form():
    """Var[x_0 | x_t] = sigma^2 for unit Gaussians, so the expected loss of v is 1 at any level."""
    x, y = population(0, size=4000)
    losses = denoising_losses(
        gaussian_denoiser(0.0, 1.0), x, y, device=CPU, draws=64, levels=(-2.0, 2.0)
    )
    assert losses.mean(0).tolist() == pytest.approx([1.0, 1.0], abs=0.08)
