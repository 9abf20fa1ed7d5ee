"""The true risk of simulated patients: kept beside the splits, in the tables, in no training."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from configs import load_config
from configs.runtime.errors import DataError
from data_preprocess.build import RECORD, TRUE_RISK, ensure_built, load_splits, load_true_risk
from data_preprocess.sources.simulated.cohort import simulate
from scripts.results.score_tables import difference_tables, score_tables
from scripts.utility.fits import upper_bound
from scripts.utility.protocols import UPPER, EncodedArrays, Fit
from scripts.utility.summary import summarise
from tests.support.evaluation_stand_ins import make_data
from tests.unit.scripts.test_summary import make_results


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    home = tmp_path_factory.mktemp("risk")
    config = load_config(["configs/base/tiny.yaml", f"data.dir={home / 'data'}"]).data
    ensure_built(config)
    return config


def test_the_risk_stands_in_the_order_of_the_test_split(data):
    """The simulator's own order, found again by patient and values."""
    risk, splits = load_true_risk(data), load_splits(data)
    cohort, _ = simulate(
        num_subjects=200, prevalence=0.2, num_channels=4, num_steps=12, seed=data.seed
    )
    for name in ("val_select", "test"):
        split = getattr(splits, name)
        assert risk[name].shape == (len(split), 2)
        for row in range(len(split)):
            stays = np.flatnonzero(cohort.subject_ids == split.subject_ids[row])
            measured = split.observed[row]
            (own,) = [
                k
                for k in stays
                if np.array_equal(~np.isnan(cohort.values[k]), measured)
                and np.array_equal(cohort.values[k][measured], split.values[row][measured])
            ]
            assert risk[name][row] == pytest.approx(cohort.true_risk[own])


def test_no_split_holds_the_risk(data):
    """What stages 1 to 3 load has no place for it, and the train stays have none on disk."""
    assert set(load_true_risk(data)) == {"val_select", "test"}
    fields = {field.name for field in dataclasses.fields(load_splits(data).train)}
    assert "true_risk" not in fields
    for name in ("train", "val_guide", "val_select", "test"):
        with np.load(f"{data.dir}/{name}.npz") as archive:
            assert not [key for key in archive.files if "risk" in key]


def test_other_sources_know_no_risk(tmp_path, data):
    train = np.random.default_rng(0).normal(size=(80, 2, 6))
    np.save(tmp_path / "x.npy", train)
    np.save(tmp_path / "x_labels.npy", np.arange(80) % 2)
    config = load_config(
        ["configs/base/tiny.yaml", "data=files", f"data.files.train={tmp_path / 'x.npy'}"]
        + [f"data.dir={tmp_path / 'built'}"]
    ).data
    ensure_built(config)
    assert load_true_risk(config) == {}
    assert TRUE_RISK not in (tmp_path / "built" / RECORD).read_text(encoding="utf-8")


def test_a_changed_risk_file_is_refused(tmp_path):
    config = load_config(["configs/base/tiny.yaml", f"data.dir={tmp_path / 'data'}"]).data
    ensure_built(config)
    (tmp_path / "data" / TRUE_RISK).write_bytes(b"something else")
    with pytest.raises(DataError, match="was changed"):
        load_true_risk(config)


def test_the_row_stands_in_the_table_and_in_no_comparison():
    rng = np.random.default_rng(0)
    results = make_results()
    labels = next(iter(results.values())).labels
    data = make_data()
    test = EncodedArrays(x=np.zeros((len(labels), 2, 5), np.float32), y=labels)
    data = dataclasses.replace(data, test=test)
    p = np.clip(0.5 * labels + 0.5 * rng.random(len(labels)), 0.01, 0.99)
    risk = {
        "test": np.stack([1 - p, p], axis=1),
        "val_select": np.stack([1 - data.select.y * 0.9, data.select.y * 0.9], axis=1),
    }
    found = upper_bound(risk, data, ["classifier"])
    assert list(found) == [Fit(UPPER, "simulator", None, "classifier", 0)]
    arguments = {"resamples": 100}
    without = summarise(results, np.arange(len(labels)), **arguments)
    summaries = summarise(results | found, np.arange(len(labels)), **arguments)
    assert summaries[: len(without)] == without  # Holm's families are as before
    bound = next(s for s in summaries if s.protocol == UPPER and s.metric == "auroc")
    assert bound.mean == pytest.approx(roc_auc_score(labels, p))
    assert bound.vs_real is None and bound.vs_unguided is None
    last = [row for row in score_tables(summaries)[0].rows if row][-1]
    assert last[:2] == ["true risk (upper bound)", "simulator"]
    assert "simulator" not in difference_tables(summaries)[0].as_text()


def test_without_a_risk_there_is_no_row():
    assert upper_bound({}, make_data(), ["classifier"]) == {}
