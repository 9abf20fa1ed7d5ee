"""Export and import of G: the same G, refused elsewhere, and private as far as it says."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm as normal
from torch import nn

from classifier.losses import per_sample_loss
from classifier.train import main as train_classifier
from configs import load_config
from configs.runtime.device import pick_device
from configs.runtime.errors import (
    ConfigError,
    DataError,
    MismatchError,
    MissingInputError,
    UserError,
)
from data_preprocess.build import load_splits
from data_preprocess.storage.dataset_files import save_dataset
from tardiff.export_guidance import _one_per_patient
from tardiff.export_guidance import main as export
from tardiff.from_config import configured_settings, direction_loader, guidance_files
from tardiff.guidance.exported_gradient import load_guidance, save_guidance
from tardiff.influence.dp_gradient import add_noise, clipped_sum, noise_multiplier
from tardiff.influence.guidance_gradient import guidance_gradient
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.parameter_space import combine, norm
from tests.support.oracles import Recurrent
from tests.support.tiny_runs import tiny_arguments


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    arguments = tiny_arguments(
        root,
        f"out={root}/g.pt",
    )
    config = load_config(arguments)
    train_classifier(config)
    return root, arguments, load_splits(config.data)


def exported(trained, *overrides):
    root, arguments, _ = trained
    export(load_config([*arguments, *overrides]))
    return load_guidance(root / "g.pt")


def inputs_of(trained, *overrides):
    config = load_config([*trained[1], *overrides])
    return direction_loader(config, trained[2], pick_device("cpu")), configured_settings(config)


@pytest.mark.parametrize("loss", ["auto", "balanced", "nll"])
@pytest.mark.parametrize("preconditioner", ["none", "ggn_cg"])
def test_the_file_gives_the_g_that_the_rows_give(trained, loss, preconditioner):
    given = exported(trained, f"influence.guidance_loss={loss}")
    assert given.rows == len(trained[2].val_guide) and given.privacy is None
    told = (f"influence.guidance_loss={loss}", f"influence.preconditioner={preconditioner}")
    here, settings = inputs_of(trained, *told)
    elsewhere, _ = inputs_of(trained, *told, f"influence.vector={trained[0]}/g.pt")
    expected, _ = here.vector(here.classifier(), settings)
    found, facts = elsewhere.vector(elsewhere.classifier(), settings)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6)
    assert facts["imported"].endswith("g.pt")


def test_the_guidance_rows_are_not_needed_where_the_file_is_used(trained):
    exported(trained)
    elsewhere, settings = inputs_of(trained, f"influence.vector={trained[0]}/g.pt")
    splits = elsewhere.splits
    other = replace(splits, val_guide=replace(splits.val_guide, values=0 * splits.val_guide.values))
    blind = replace(elsewhere, splits=other)
    expected, _ = elsewhere.vector(elsewhere.classifier(), settings)
    found, _ = blind.vector(blind.classifier(), settings)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


def test_another_g_under_the_same_path_is_another_decision(trained, tmp_path):
    _, arguments, _ = trained
    path = tmp_path / "g.pt"
    config = load_config([*arguments, f"influence.vector={path}"])
    prints = []
    for loss in ("nll", "balanced"):
        export(load_config([*arguments, f"out={path}", f"influence.guidance_loss={loss}"]))
        prints.append(guidance_files(config))
    assert len(prints[0]) == 2 and prints[0][0] == prints[1][0] and prints[0][1] != prints[1][1]


def test_rows_from_a_file_need_no_splits(trained, tmp_path):
    root, arguments, splits = trained
    first = exported(trained)
    save_dataset(tmp_path / "rows.npz", splits.val_guide)
    nowhere = (f"data.dir={tmp_path}/nothing", f"export.guide={tmp_path}/rows.npz")
    second = exported(trained, *nowhere)
    for name in first.vector:
        torch.testing.assert_close(first.vector[name], second.vector[name])
    renamed = replace(splits.val_guide, label_names=("home", "dead"))
    save_dataset(tmp_path / "rows.npz", renamed)
    with pytest.raises(MismatchError, match="label_names"):
        export(load_config([*arguments, *nowhere]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classifier": "0" * 64}, "classifier is"),
        ({"normaliser": "0" * 64}, "normaliser is"),
        ({"feature_names": ("a", "b", "c", "d")}, "feature_names is"),
        ({"label_names": ("a", "b")}, "label_names is"),
        ({"guidance_loss": "nll"}, "guidance_loss is"),
        ({"vector": {"odd": torch.zeros(2)}}, "parameters are not"),
    ],
)
def test_a_file_that_belongs_elsewhere_is_refused(trained, tmp_path, change, message):
    save_guidance(tmp_path / "other.pt", replace(exported(trained), **change))
    told = ("influence.guidance_loss=rank", f"influence.vector={tmp_path}/other.pt")
    inputs, settings = inputs_of(trained, *told)
    with pytest.raises(MismatchError, match=message):
        inputs.vector(inputs.classifier(), settings)


def test_missing_and_foreign_files_are_named(trained, tmp_path):
    with pytest.raises(MissingInputError, match="export_guidance"):
        load_guidance(tmp_path / "none.pt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "foreign.pt")
    with pytest.raises(DataError, match="not a guidance gradient"):
        load_guidance(tmp_path / "foreign.pt")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["export.epsilon=1"], "needs export.clip"),
        (["export.clip=1"], "no sum over series"),
    ],
)
def test_what_cannot_be_bounded_is_refused(trained, overrides, message):
    with pytest.raises(ConfigError, match=message):
        export(load_config([*trained[1], *overrides]))


def test_a_loose_clip_changes_nothing_and_a_tight_one_bounds(trained):
    told = "influence.guidance_loss=balanced"
    plain, loose = exported(trained, told), exported(trained, told, "export.clip=1e6")
    for name in plain.vector:
        torch.testing.assert_close(plain.vector[name], loose.vector[name], rtol=1e-4, atol=1e-6)
    tight = exported(trained, told, "export.clip=0.01")
    assert norm(tight.vector) <= 0.01 * (1 + 1e-6)
    assert tight.clip == 0.01 and tight.privacy is None


def rows_of(n=24):
    torch.manual_seed(0)
    model = Recurrent(nn.GRU, 2, 4, 1).double().eval()
    x = 3 * torch.randn(n, 2, 6, dtype=torch.float64)
    return model, x, torch.arange(n) % 3 // 2


@pytest.mark.parametrize("kind", ["nll", "balanced"])
def test_replacing_a_series_moves_the_sum_by_at_most_the_sensitivity(kind):
    model, x, y = rows_of()

    def total(series):
        weights = GuidanceLoss(kind, 2).row_weights(y)
        return clipped_sum(model, per_sample_loss, series, y, weights=weights, clip=0.2)

    base = total(x)
    moved = 0.0
    for row in range(len(y)):
        changed = x.clone()
        changed[row] = -5 * x[row]
        after = total(changed)
        assert after.sensitivity == base.sensitivity
        moved = max(moved, norm(combine(after.vector, -1.0, base.vector)))
    assert moved <= base.sensitivity
    assert moved > 0.2 * base.sensitivity  # and the bound is not an idle one
    assert base.share_clipped > 0  # the clip bites


def test_removing_a_series_moves_the_sum_by_at_most_its_clipped_part():
    model, x, y = rows_of()
    weights = torch.ones(len(y), dtype=torch.float64)
    told = {"clip": 0.2, "weights": weights}
    base = clipped_sum(model, per_sample_loss, x, y, **told)
    for row in range(len(y)):
        keep = torch.arange(len(y)) != row
        less = clipped_sum(
            model, per_sample_loss, x[keep], y[keep], clip=0.2, weights=weights[keep]
        )
        assert norm(combine(base.vector, -1.0, less.vector)) <= 0.2 * (1 + 1e-12)


def test_unclipped_weights_give_the_guidance_gradient():
    model, x, y = rows_of()
    for kind in ("nll", "balanced"):
        weights = GuidanceLoss(kind, 2).row_weights(y)
        found = clipped_sum(model, per_sample_loss, x, y, weights=weights, clip=1e9).vector
        expected = guidance_gradient(model, x, y, GuidanceLoss(kind, 2))
        for name in expected:
            torch.testing.assert_close(found[name], expected[name])


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("delta", [1e-6, 1e-3])
def test_noise_keeps_the_closed_form_of_balle_and_wang(epsilon, delta):
    pytest.importorskip("dp_accounting")
    sd = noise_multiplier(epsilon, delta)

    def delta_of(sigma):  # theorem 8, sensitivity 1
        a, b = 1 / (2 * sigma), epsilon * sigma
        return normal.cdf(a - b) - math.exp(epsilon) * normal.cdf(-a - b)

    assert delta_of(sd) == pytest.approx(delta, rel=1e-6)
    assert delta_of(0.99 * sd) > delta


def test_the_private_file_says_what_it_promises_and_holds_that_noise(trained):
    pytest.importorskip("dp_accounting")
    told = ("influence.guidance_loss=balanced", "export.clip=0.5")
    clean = exported(trained, *told)
    noisy = exported(trained, *told, "export.epsilon=2", "export.delta=1e-4")
    again = exported(trained, *told, "export.epsilon=2", "export.delta=1e-4")
    assert noisy.privacy is not None
    counts = trained[2].val_guide.class_counts
    sensitivity = 2 * 0.5 / (2 * counts.min())
    assert noisy.privacy["sensitivity"] == pytest.approx(sensitivity)
    sd = noise_multiplier(2.0, 1e-4) * sensitivity
    assert noisy.privacy["noise_sd"] == pytest.approx(sd)
    assert "same label" in noisy.privacy["neighbours"]
    gaps = torch.cat([(noisy.vector[n] - clean.vector[n]).flatten() for n in clean.vector])
    assert float(gaps.std()) == pytest.approx(sd, rel=0.1) and len(gaps) > 500
    assert any((noisy.vector[n] != again.vector[n]).any() for n in clean.vector)  # fresh noise


def test_noise_is_normal_and_unseeded():
    zero = {"a": torch.zeros(20_000, dtype=torch.float64)}
    torch.manual_seed(0)
    first = add_noise(zero, 3.0)["a"]
    torch.manual_seed(0)
    second = add_noise(zero, 3.0)["a"]
    assert not torch.equal(first, second)
    assert float(first.std()) == pytest.approx(3.0, rel=0.03)


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dp_accounting", None)
    with pytest.raises(UserError, match=r"\[dp\]"):
        noise_multiplier(1.0, 1e-5)


def test_a_patient_counts_once(make_dataset):
    guide = make_dataset(6, subject_ids=np.array([4, 4, 7, 8, 7, 9]))
    assert _one_per_patient(guide).subject_ids.tolist() == [4, 7, 8, 9]
    with pytest.raises(DataError, match="which patient"):
        _one_per_patient(make_dataset(2, subject_ids=np.array([-1, -1])))
