"""The comparison of denoising networks: equal seconds, fair averages, losses of the right rows."""

import dataclasses

import pytest
import torch

from benchmarks.denoisers import Study, named_config
from benchmarks.timed_training import Losses, train_for
from configs import load_config
from data_preprocess.build import ensure_built, load_splits
from tardiff.diffusion.denoiser import training_target
from tardiff.diffusion.noise_schedule import draw_levels
from tardiff.training.module import SeriesBatch
from tests.support.tiny_runs import tiny_arguments


class Nothing(torch.nn.Module):
    """Predicts 0, so its loss is the mean square of the target."""

    def forward(self, x_t, log_snr, y):
        return torch.zeros_like(x_t)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    config = load_config(tiny_arguments(tmp_path_factory.mktemp("study")))
    ensure_built(config.data)
    return Study(config, load_splits(config.data))


@pytest.mark.parametrize("observed_only", [True, False])
def test_the_loss_counts_the_entries_that_training_counts(study, observed_only):
    diffusion = dataclasses.replace(study.config.diffusion, observed_only=observed_only)
    config = dataclasses.replace(study.config, diffusion=diffusion)
    x, observed = torch.randn(5, 2, 6), torch.rand(5, 2, 6) > 0.4
    observed[:, 0, 0] = True
    rows = SeriesBatch(x, observed, torch.tensor([0, 1, 0, 1, 0]))
    others = SeriesBatch(x + 3, observed, rows.y)
    expected = []
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        levels = draw_levels(5, table=None, generator=generator)
        target = training_target(x, torch.randn(x.shape, generator=generator), levels, "v")
        mask = observed if observed_only else torch.ones_like(observed)
        expected += [target[i][mask[i]].square().mean() for i in range(5)]
    on_train, on_held_out = Losses(config, others, rows).of(Nothing())
    assert on_held_out == pytest.approx(float(torch.stack(expected).mean()), rel=1e-5)
    assert on_train > on_held_out


def test_no_test_row_judges(study):
    held_out = set(study.held_out.subject_ids.tolist())
    splits = study.splits
    assert held_out == set(splits.val_guide.subject_ids) | set(splits.val_select.subject_ids)
    assert not held_out & (set(splits.test.subject_ids) | set(splits.train.subject_ids))


def test_training_is_timed_followed_and_averaged_over_other_lengths(study):
    own = study.config.diffusion.ema_decay
    found = train_for(study.config, study.splits, study.losses, steps=21, decays=[0.3, 0.6])
    assert list(found.networks) == [own, 0.3, 0.6]
    first, *others = (
        torch.cat([p.flatten() for p in network.parameters()])
        for network in found.networks.values()
    )
    assert all(0 < (first - other).abs().max() < 0.1 for other in others)
    assert [step for step, _, _ in found.curve] == [5, 10, 15, 21]
    assert found.curve[-1][2] < found.curve[0][2] < 1.1
    assert found.curve[-1][1:] == study.losses.of(found.networks[own])
    assert found.seconds > 0


def test_an_average_of_the_same_length_is_the_modules_own(study, monkeypatch):
    monkeypatch.setattr("benchmarks.timed_training.EVALUATIONS", 1)
    own = study.config.diffusion.ema_decay
    nearly = own + 1e-9  # a key of its own
    found = train_for(study.config, study.splits, study.losses, steps=12, decays=[nearly])
    pairs = zip(found.networks[own].parameters(), found.networks[nearly].parameters(), strict=True)
    for first, second in pairs:
        torch.testing.assert_close(first, second)


def test_a_setting_is_a_name_and_keys_of_the_diffusion_section():
    name, config = named_config(
        ["configs/base/tiny.yaml", "seed=4"], "g network=published_unet width=24"
    )
    assert (name, config.seed) == ("g", 4)
    assert (config.diffusion.network, config.diffusion.width) == ("published_unet", 24)
