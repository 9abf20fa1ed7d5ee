"""Two sites: the guide travels to the guidance rows, their G travels back, the set is the same."""

import dataclasses
import logging

import numpy as np
import pytest
import torch

from configs import load_config
from configs.run_record import run_dir
from configs.runtime.errors import ConfigError, DataError, MismatchError, MissingInputError
from data_preprocess.build import load_splits
from data_preprocess.storage.dataset_files import load_dataset, load_extra, save_dataset
from scripts.from_config import influence_weights
from tardiff.export_guidance import main as export
from tardiff.fit_guide import main as fit_guide
from tardiff.generate import main as generate
from tardiff.guidance.guide_file import imported_estimate, load_guide, save_guide
from tardiff.privacy.noise import noise_multiplier
from tardiff.records_from_config import guidance_files
from tardiff.train import main as train_diffusion
from tardiff.training.checkpoint import load_model, save_model
from tests.support.tiny_runs import tiny_arguments

CONVEX = ("influence.estimator=convex", "guidance.by=choose", "guidance.w=0.3")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """A generator; a guide that was fitted beside it; guidance rows in a file of their own."""
    root = tmp_path_factory.mktemp("export")
    arguments = tiny_arguments(root, *CONVEX)
    config = load_config(arguments)
    train_diffusion(config)
    fit_guide(load_config([*arguments, f"out={root}/guide.pt"]))
    splits = load_splits(config.data)
    save_dataset(root / "rows.npz", splits.val_guide)
    return root, arguments, splits


def custodian(sites, *overrides, out="g.pt"):
    """Exports G where there is nothing but the guide and the guidance rows."""
    root = sites[0]
    told = [f"export.guide={root}/guide.pt", f"export.rows={root}/rows.npz", f"out={root}/{out}"]
    export(load_config(["experiment=elsewhere", f"runs_dir={root}/elsewhere", *told, *overrides]))
    return load_guide(root / out).export


def made(sites, *overrides):
    generate(load_config([*sites[1], *overrides]))
    return sites[0] / "runs" / "tiny" / "synthetic" / "guided.npz"


@pytest.mark.parametrize("loss", ["auto", "balanced", "nll"])
def test_the_set_is_that_of_the_guidance_rows_themselves(sites, loss):
    told = f"influence.guidance_loss={loss}"
    here = load_dataset(made(sites, told))
    given = custodian(sites, told)
    assert given.rows == len(sites[2].val_guide) and given.privacy is None
    path = made(sites, f"influence.vector={sites[0]}/g.pt")
    np.testing.assert_array_equal(load_dataset(path).values, here.values)
    facts = load_extra(path)["guidance"]["facts"]
    assert facts["imported"].endswith("g.pt") and facts["guidance_loss"] == given.guidance_loss


def test_the_guidance_rows_are_not_needed_where_the_file_is_used(sites):
    root, _, splits = sites
    custodian(sites)
    zeros = dataclasses.replace(splits.val_guide, values=0 * splits.val_guide.values)
    blind = dataclasses.replace(splits, val_guide=zeros)
    without, beside = (imported_estimate(root / "g.pt", s, CPU) for s in (blind, splits))
    assert without.key == beside.key  # that of the guide and its G


def test_the_custodian_finds_the_strength(sites, caplog):
    caplog.set_level(logging.INFO)
    given = custodian(sites)
    assert given.strength.grid and "no noise" in caplog.text and "strength: w" in caplog.text
    path = made(sites, f"influence.vector={sites[0]}/g.pt", "guidance.w=auto")
    facts = load_extra(path)["guidance"]
    assert facts["requested"] == [given.strength.w] * 2
    assert facts["facts"]["strength"]["changes"] == given.strength.changes


def test_one_machine_needs_no_guide_file(sites):
    root, arguments, splits = sites
    export(load_config([*arguments, f"out={root}/here.pt"]))
    here, there = load_guide(root / "here.pt").export, custodian(sites)
    torch.testing.assert_close(here.gradient, there.gradient)
    # The selection rows of the splits are further folds, which a file of rows does not have.
    assert here.strength.errors != there.strength.errors and len(splits.val_select)


def test_another_g_under_the_same_path_is_another_decision(sites):
    config = load_config([*sites[1], f"influence.vector={sites[0]}/g.pt"])
    prints = []
    for loss in ("nll", "balanced"):
        custodian(sites, f"influence.guidance_loss={loss}")
        prints.append(guidance_files(config))
    assert prints[0] != prints[1] and len(prints[0]) == 1


def test_the_private_file_says_what_it_promises_and_holds_that_noise(sites):
    pytest.importorskip("dp_accounting")
    told = ("influence.guidance_loss=balanced", "export.delta=1e-4")
    clean = custodian(sites, *told, "export.epsilon=1e6")
    noisy = custodian(sites, *told, "export.epsilon=2")
    again = custodian(sites, *told, "export.epsilon=2")
    counts = sites[2].val_guide.class_counts
    sensitivity = 2 * noisy.privacy["clip"] / (2 * counts.min())
    assert noisy.privacy["sensitivity"] == pytest.approx(sensitivity)
    sd = noise_multiplier(2.0, 1e-4) * sensitivity
    assert noisy.privacy["noise_sd"] == pytest.approx(sd)
    assert "same label" in noisy.privacy["neighbours"]
    assert clean.gradient.norm() <= noisy.privacy["clip"]  # no series has more to say
    gaps = (noisy.gradient - clean.gradient).flatten()
    assert len(gaps) > 100 and float(gaps.std()) == pytest.approx(sd, rel=0.25)
    assert not torch.equal(noisy.gradient, again.gradient)  # fresh noise


def test_a_private_file_tells_no_strength(sites):
    pytest.importorskip("dp_accounting")
    given = custodian(sites, "influence.guidance_loss=nll", "export.epsilon=8", out="private.pt")
    assert given.strength is None and given.privacy["clip"] > 0
    told = f"influence.vector={sites[0]}/private.pt"
    with pytest.raises(ConfigError, match="give a number"):
        made(sites, told, "guidance.w=auto")
    facts = load_extra(made(sites, told))["guidance"]
    assert facts["facts"]["privacy"]["epsilon"] == 8 and facts["requested"] == [0.3, 0.3]


def test_the_bound_of_a_private_file_is_not_of_its_rows(sites, tmp_path):
    """And of some classes a label decides whether a row counts: another one is no neighbour."""
    pytest.importorskip("dp_accounting")
    guide = sites[2].val_guide
    save_dataset(tmp_path / "rows.npz", guide.take(np.arange(0, len(guide), 2)))
    told = ("influence.guidance_loss=nll", "export.epsilon=1")
    every = custodian(sites, *told).privacy
    half = custodian(sites, *told, f"export.rows={tmp_path}/rows.npz").privacy
    assert half["clip"] == every["clip"] and "same label" not in every["neighbours"]
    some = custodian(sites, *told, "influence.classes=[1]").privacy
    assert "same label" in some["neighbours"]


def test_a_patient_enters_a_private_file_once(sites, tmp_path):
    pytest.importorskip("dp_accounting")
    guide = sites[2].val_guide
    twice = guide.subject_ids.copy()
    twice[-1] = twice[0]
    save_dataset(tmp_path / "rows.npz", dataclasses.replace(guide, subject_ids=twice))
    told = (f"export.rows={tmp_path}/rows.npz", "influence.guidance_loss=nll")
    assert custodian(sites, *told).rows == len(guide)
    assert custodian(sites, *told, "export.epsilon=1").rows == len(np.unique(twice)) < len(guide)


@pytest.mark.parametrize("asked", [True, False])
def test_a_generator_that_has_seen_the_guidance_rows_is_no_private_guide(sites, tmp_path, asked):
    """The file of the model says so, whatever the config asks for."""
    told = ["export.epsilon=1", "influence.guidance_loss=nll"]
    told.append(f"diffusion.include_guide={str(asked).lower()}")
    path = run_dir(load_config(sites[1])) / "diffusion" / "model.pt"
    before = path.read_bytes()
    save_model(path, dataclasses.replace(load_model(path, ""), with_guide=True))
    try:
        with pytest.raises(ConfigError, match="include_guide"):
            export(load_config([*sites[1], *told]))
        guide = f"{tmp_path}/guide.pt"  # of that generator, taken to the custodian as a file
        fit_guide(load_config([*sites[1], f"out={guide}"]))
        with pytest.raises(ConfigError, match="include_guide"):
            export(load_config([*sites[1], *told, f"export.guide={guide}"]))
    finally:
        path.write_bytes(before)


def test_a_config_that_asks_for_another_loss_is_refused(sites):
    custodian(sites, "influence.guidance_loss=nll")
    told = {"guidance_loss": "balanced"}
    with pytest.raises(MismatchError, match="guidance_loss is nll"):
        imported_estimate(sites[0] / "g.pt", sites[2], CPU, **told)
    with pytest.raises(MismatchError, match="classes is None"):
        imported_estimate(sites[0] / "g.pt", sites[2], CPU, classes=[1])


def test_a_loss_that_is_no_sum_cannot_be_private(sites):
    with pytest.raises(ConfigError, match="no sum over series"):
        custodian(sites, "export.epsilon=1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_names": ("a", "b", "c", "d")}, "feature_names is"),
        ({"label_names": ("a", "b")}, "label_names is"),
        ({"length": 7}, "damaged|length is"),
        ({"export": None}, "guide without G"),
    ],
)
def test_a_file_that_belongs_elsewhere_is_refused(sites, tmp_path, change, message):
    custodian(sites)
    other = dataclasses.replace(load_guide(sites[0] / "g.pt"), **change)
    save_guide(tmp_path / "other.pt", other)
    with pytest.raises((MismatchError, ConfigError, DataError), match=message):
        imported_estimate(tmp_path / "other.pt", sites[2], CPU)


def test_another_normaliser_is_refused(sites):
    custodian(sites)
    config = load_config([*tiny_arguments(sites[0] / "other", *CONVEX), "data.seed=5"])
    train_diffusion(config)
    with pytest.raises(MismatchError, match="normaliser is [0-9a-f]{64}, but [0-9a-f]{64} is"):
        imported_estimate(sites[0] / "g.pt", load_splits(config.data), CPU)


def test_rows_of_another_task_are_refused(sites, tmp_path):
    renamed = dataclasses.replace(sites[2].val_guide, label_names=("home", "dead"))
    save_dataset(tmp_path / "rows.npz", renamed)
    with pytest.raises(MismatchError, match="label_names"):
        custodian(sites, f"export.rows={tmp_path}/rows.npz")


def test_weights_of_real_series_need_the_guidance_rows(sites):
    weights = influence_weights(load_config(sites[1]), sites[2])
    labels = sites[2].train.labels
    assert [weights[labels == k].mean() for k in (0, 1)] == pytest.approx([1.0, 1.0])
    assert weights.std() > 0.05
    elsewhere = load_config([*sites[1], f"influence.vector={sites[0]}/g.pt"])
    with pytest.raises(ConfigError, match="needs the guidance rows"):
        influence_weights(elsewhere, sites[2])


def test_missing_foreign_and_damaged_files_are_named(sites, tmp_path):
    with pytest.raises(MissingInputError, match="export_guidance"):
        load_guide(tmp_path / "none.pt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "foreign.pt")
    with pytest.raises(DataError, match="not a guide"):
        load_guide(tmp_path / "foreign.pt")
    whole = torch.load(sites[0] / "guide.pt", weights_only=True)
    guide = whole["guide"]
    for damage in (
        {"guide": {**guide, "rows": guide["rows"][:, :-1]}},
        {"guide": {**guide, "rows": guide["rows"] * float("nan")}},
        {"guide": {**guide, "y": guide["y"] + 5}},
        {"features": {"groups": []}},
        {"features": {**whole["features"], "scale": 0 * whole["features"]["scale"]}},
        {"length": 10**12},
        {"export": {"gradient": torch.zeros(3, 1)}},
    ):
        torch.save({**whole, **damage}, tmp_path / "damaged.pt")
        with pytest.raises(DataError, match="damaged guide"):
            load_guide(tmp_path / "damaged.pt")


def test_rows_with_other_channels_are_refused(sites):
    """With a guide from a file and with one that is fitted here."""
    root, arguments, splits = sites
    names = splits.val_guide.feature_names
    swapped = dataclasses.replace(splits.val_guide, feature_names=names[::-1])
    save_dataset(root / "swapped.npz", swapped)
    for guide in ([f"export.guide={root}/guide.pt"], []):
        told = [*arguments, *guide, f"export.rows={root}/swapped.npz", f"out={root}/x.pt"]
        with pytest.raises(MismatchError, match="feature_names"):
            export(load_config(told))
    assert not (root / "x.pt").exists()
