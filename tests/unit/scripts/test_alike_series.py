"""Patients with several series that are alike: no leak and no difference may be made of that."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch

from configs.runtime.processes import Processes
from data_preprocess.model_space.encoding import encode
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits
from scripts.quality.common.comparison import (
    FEW_PATIENTS,
    Side,
    independent,
    make_comparison,
)
from scripts.quality.common.registry import FIDELITY, KINDS, PRIVACY, raised_flags
from scripts.quality.fidelity.discriminative import discriminative_report
from scripts.quality.privacy import white_box
from scripts.quality.privacy.membership import membership_report
from scripts.quality.suite import quality_report
from scripts.results.quality_tables import generator_table
from tardiff.privacy.alike_series import series_are_alike
from tests.support.metric_sets import dataset
from tests.support.oracles import KernelDenoiser, gaussian_denoiser

CPU = torch.device("cpu")


def patients(seed, count, each, first=0):
    """Series of `count` patients; each has a level of its own."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.normal(size=(count, 3, 1)), each, 0)
    values = level + 0.5 * rng.normal(size=(count * each, 3, 8))
    return dataset(values, subject_ids=np.repeat(np.arange(count), each) + first)


def compared(count, each, seed=0):
    """An honest set: fresh patients of the population."""
    train, holdout = patients(seed, count, each), patients(seed + 1, count, each, first=10_000)
    return make_comparison(train, holdout, patients(seed + 2, 400, 1), Normaliser.fit(train))


def test_every_patient_is_left_with_one_series_where_these_are_alike():
    before = compared(60, 5)
    after, few = independent(before, seed=0)
    assert few == {}
    for name in ("train", "holdout"):
        kept = getattr(after, name)
        assert len(kept.x) == len(np.unique(kept.data.subject_ids)) == 60
    assert len(after.x_telling) == 300  # a copy of any series is looked for
    again, _ = independent(before, seed=1)
    assert not np.array_equal(again.train.data.values, after.train.data.values)


def test_the_sizes_of_a_report_are_those_that_were_compared():
    """5 patients of 60 are of a class: 25 series there say no more of its labels than 5."""
    train, holdout = patients(0, 60, 5), patients(1, 60, 5, first=10_000)
    labels = (np.arange(300) < 25).astype(int)
    real = [dataclasses.replace(each, labels=labels) for each in (train, holdout)]
    synthetic, normaliser = patients(2, 400, 1), Normaliser.fit(train)
    found = quality_report(FIDELITY, *real, synthetic, normaliser=normaliser, seed=0).values
    assert (found["fewest_series"], found["fewest_of_class"]) == (60, 5)


def test_series_that_are_not_alike_are_kept():
    before = compared(60, 1)
    ids = np.arange(60) // 3  # of any patient
    mixed = Side(dataclasses.replace(before.train.data, subject_ids=ids), before.train.x)
    before = dataclasses.replace(before, train=mixed)
    after, few = independent(before, seed=0)
    assert few == {} and len(after.train) == 60


def test_chance_makes_no_series_alike():
    """Of random series of four patients a nearest one is in a quarter of cases the same one's."""
    for seed in range(10):
        x = torch.randn(400, 24, generator=torch.Generator().manual_seed(seed))
        assert not series_are_alike(x, np.arange(400) % 4)


def test_many_patients_with_few_series_each_are_seen():
    """Of random series hardly two would be one patient's."""
    many = patients(0, 20_000, 3)
    assert series_are_alike(Normaliser.fit(many).to_model(many.values).flatten(1), many.subject_ids)


def test_few_patients_with_very_many_series_each_are_seen():
    few = patients(0, 4, 5000)
    assert series_are_alike(Normaliser.fit(few).to_model(few.values).flatten(1), few.subject_ids)


def test_an_honest_set_leaks_nothing_of_patients_with_many_series():
    """Without one series per patient both flags are raised here."""
    before = compared(40, 10)
    after, _ = independent(before, seed=0)
    for comparison, flagged in ((before, True), (after, False)):
        found = membership_report(comparison, seed=0).values
        names = [flag.metric for flag in raised_flags(found)]
        assert ("membership_auc" in names) == flagged
    reference = "discriminative_auc_reference"
    told = [discriminative_report(c, seed=0).values[reference] for c in (before, after)]
    assert told[0] > 0.7 and told[1] < told[0] - 0.1  # 40 against 40 series are noisy


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_patients_are_said(kind):
    c = compared(10, 30)
    train, holdout, synthetic = (side.data for side in c.sides.values())
    found = quality_report(kind, train, holdout, synthetic, normaliser=c.normaliser, seed=0).values
    assert found[FEW_PATIENTS] == 10
    if kind == PRIVACY:
        leaked = quality_report(kind, train, holdout, train, normaliser=c.normaliser, seed=0).values
        assert leaked["copies"] == 300


def test_the_smaller_number_of_patients_is_said():
    train, holdout = patients(0, 15, 20), patients(1, 5, 60, first=10_000)
    before = make_comparison(train, holdout, patients(2, 400, 1), Normaliser.fit(train))
    assert independent(before, seed=0) == (before, {FEW_PATIENTS: 5.0})


def splits_of_patients() -> Splits:
    c = compared(60, 5)
    return Splits(
        train=c.train.data,
        val_guide=patients(5, 60, 5, first=20_000),
        val_select=patients(6, 60, 5, first=30_000),
        test=c.holdout.data,
        normaliser=c.normaliser,
        fingerprint="f" * 64,
    )


def test_the_white_box_attack_sees_one_series_of_a_patient(monkeypatch):
    splits = splits_of_patients()
    asked = []

    def losses(denoiser, x, y, *, device, seed):
        asked.append(len(x))
        return x.square().mean((1, 2))[:, None].repeat(1, 2)

    monkeypatch.setattr(white_box, "denoising_losses", losses)
    white_box.attack_generator(gaussian_denoiser(0.0, 1.0), splits, seed=0, device=CPU)
    assert asked == [30, 30, 30]


def test_the_white_box_attack_needs_patients():
    """Ten patients whose series are alike leave five non-members: an AUC of 1 is chance."""
    splits = dataclasses.replace(splits_of_patients(), test=patients(3, 10, 5, first=10_000))
    found = white_box.attack_generator(gaussian_denoiser(0.0, 1.0), splits, seed=0, device=CPU)
    assert found.values == {} and "10 test series that are not of one patient" in found.remarks[0]
    assert generator_table(found).rows[0] == ["model", *["not measured"] * 3]


def test_the_white_box_attack_is_the_same_in_two_processes():
    splits = splits_of_patients()
    x = encode(splits.normaliser, splits.train)
    denoiser = KernelDenoiser(x, torch.from_numpy(splits.train.labels), width=0.1)
    attack = partial(white_box.attack_generator, denoiser, splits, seed=0, device=CPU)
    found = attack(processes=Processes(2)).values
    assert found == attack().values
    assert found["white_box_auc"] > 0.9  # members, others and known are not mixed up
