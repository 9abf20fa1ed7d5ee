"""Inputs that were read without a word and came out wrong."""

import dataclasses
import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from configs import load_config
from configs.runtime.errors import DataError, MismatchError
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.cohort import FlowStep, apply_rules
from data_preprocess.dataset import EHRDataset
from data_preprocess.export.writers import export
from data_preprocess.model_space.channel_transforms import charted_step
from data_preprocess.model_space.static_covariates import StaticCode
from data_preprocess.sources.hospital import inclusion_criteria
from data_preprocess.sources.hospital.variables import DICTIONARY
from data_preprocess.sources.registry import Settings, read_source
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.sources.user_table.reader import read_table
from data_preprocess.split_assignment import allowed
from data_preprocess.storage.dataset_files import save_dataset
from data_preprocess.storage.duckdb_engine import open_engine
from tests.unit.data_preprocess.test_split_assignment import cohort

TINY = "configs/base/tiny.yaml"
rng = np.random.default_rng(0)


@pytest.mark.parametrize("seconds", [0.004, 1, 10, 60])
@pytest.mark.parametrize("end", [False, True])
def test_stamps_on_a_fine_grid_stand_in_their_own_step(tmp_path, seconds, end):
    """Minutes since 1970 are rounded by more than a billionth of a second's step."""
    rows = []
    for i in range(12):
        start = pd.Timestamp("2150-03-04 07:13:27") + pd.Timedelta(seconds=int(rng.integers(10**6)))
        last = start + pd.Timedelta(seconds=39 * seconds)
        for k in range(40):
            rows.append((i, start + pd.Timedelta(seconds=k * seconds), float(k), last))
    table = pd.DataFrame(rows, columns=["id", "time", "hr", "until"])
    table.to_csv(tmp_path / "s.csv", index=False)
    labels = table.groupby("id", as_index=False).until.first().assign(label=[0, 1] * 6)
    labels.to_csv(tmp_path / "l.csv", index=False)
    form = TableForm(
        series=str(tmp_path / "s.csv"),
        labels=str(tmp_path / "l.csv"),
        layout="wide",
        channels=["hr"],
        end="until" if end else None,
    )
    settings = Settings(window_hours=40 * seconds / 3600, step_minutes=seconds / 60)
    values = read_table(form, settings).pool.values[:, 0]
    assert np.array_equal(values, np.tile(np.arange(40.0), (12, 1)))


def test_what_stands_on_one_row_of_a_series_holds_for_all(tmp_path):
    """Patient and age on the first row, the outcome on the last."""
    rows = [(i, h * 60, 80 + i + h) for i in range(40) for h in range(6)]
    table = pd.DataFrame(rows, columns=["id", "time", "hr"])
    table["label"] = np.where(table.time == 300, (table.id // 2) % 2, np.nan)
    first = table.time == 0
    table["pat"], table["age"] = (
        np.where(first, table.id // 4, np.nan),
        np.where(first, 50 + table.id, np.nan),
    )
    table.to_csv(tmp_path / "s.csv", index=False)
    form = TableForm(
        series=str(tmp_path / "s.csv"),
        layout="wide",
        subject="pat",
        static=["age"],
        channels=["hr"],
    )
    pool = read_table(form, Settings(window_hours=6.0)).pool
    assert len(set(pool.subject_ids.tolist())) == 10
    assert sorted(pool.static[:, 0].tolist()) == list(range(50, 90))


def test_zeros_and_small_units_have_no_step_of_one():
    dose = np.where(rng.random(2000) < 0.9, 0.0, np.round(rng.uniform(0.02, 0.9, 2000), 2))
    assert charted_step(dose) == 0.01
    assert charted_step(rng.normal(0, 2e-5, 2000)) == 0.0
    assert charted_step(np.round(rng.normal(80, 10, 2000))) == 1.0


def test_hashes_as_patient_ids_keep_patients_together(tmp_path):
    patients = np.repeat(rng.integers(-(2**62), 2**62, 100), 4)
    x, y = rng.normal(size=(400, 2, 8)), np.repeat(np.arange(100) % 2, 4)
    np.savez(tmp_path / "x.npz", x=x, y=y, subject_ids=patients)
    more = ["data=files", f"data.files.train={tmp_path / 'x.npz'}", f"data.dir={tmp_path / 'd'}"]
    data = load_config([TINY, *more]).data
    ensure_built(data)
    owner = {row.astype(np.float32).tobytes(): p for row, p in zip(x, patients, strict=True)}
    where = {}
    for name, split in load_splits(data).items():
        for row in split.values:
            where.setdefault(owner[row.tobytes()], set()).add(name)
    assert len(where) == 100 and all(len(splits) == 1 for splits in where.values())


def test_a_test_file_that_is_the_training_file_is_refused(tmp_path):
    for name in "AV":
        x = rng.normal(size=(200, 2, 8))
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.arange(200) % 2)
    places = {"train": "A", "test": "A", "val": "V"}
    files = [f"data.files.{k}={tmp_path / v}.npz" for k, v in places.items()]
    data = load_config([TINY, "data=files", *files, f"data.dir={tmp_path / 'd'}"]).data
    with pytest.raises(MismatchError, match="series of test are also in train"):
        ensure_built(data)


def test_few_whole_numbers_are_categories():
    sex = StaticCode.fit("sex", np.array([0.0, 1.0] * 50))
    assert sex.levels == (0.0, 1.0)
    assert StaticCode.fit("age", rng.uniform(20, 90, 100)).levels == ()
    assert StaticCode.fit("children", np.arange(100) % 9.0).levels == ()
    assert StaticCode.fit("dose", np.array([0.5, 1.0] * 50)).levels == ()


def test_rules_match_numbers_in_single_precision():
    pool = cohort()
    pool = dataclasses.replace(pool, static=pool.static.astype(np.float32))
    pool.static[:, 0] = np.where(np.arange(len(pool)) % 2, 24.3, 30.0)
    assert allowed(pool, {"age": [24.3]}, "train").sum() == len(pool) // 2


def dataset(names, subjects):
    n = len(subjects)
    return EHRDataset(
        values=rng.normal(37, 1, (n, len(names), 6)).astype(np.float32),
        observed=np.ones((n, len(names), 6), bool),
        labels=np.arange(n) % 2,
        subject_ids=subjects,
        feature_names=names,
        label_names=("no", "yes"),
        static=np.zeros((n, 0), np.float32),
        static_names=(),
    )


@pytest.mark.parametrize("real", [False, True])
def test_meds_keeps_channels_of_one_name_and_says_whose_series_they_are(tmp_path, real):
    made = dataset(("temp[C]", "temp[F]"), np.arange(40) if real else np.full(40, -1))
    save_dataset(tmp_path / "set.npz", made)
    out = tmp_path / "out"
    export(tmp_path / "set.npz", "meds", out, step_minutes=60.0)
    data = load_config([TINY, "data=meds", f"data.meds.folder={out}", "data.window_hours=6"]).data
    back = read_source("meds", data.meds, Settings(window_hours=6.0)).pool
    assert back.feature_names == made.feature_names
    assert np.array_equal(np.sort(back.values, 0), np.sort(made.values, 0))
    facts = json.loads((out / "metadata" / "dataset.json").read_text())
    assert ("synthetic" in facts["dataset_name"]) != real
    described = json.loads((out / "croissant.json").read_text())
    assert ("synthetic data" in described["keywords"]) != real


def test_yaib_units_that_the_set_does_not_name_are_warned_of(tmp_path, caplog):
    save_dataset(tmp_path / "set.npz", dataset(("hr[bpm]", "temp"), np.full(40, -1)))
    export(tmp_path / "set.npz", "yaib", tmp_path / "out", step_minutes=60.0)
    assert "channel temp has no unit, and YAIB takes a column of this name as" in caplog.text
    assert "channel hr" not in caplog.text
    save_dataset(tmp_path / "time.npz", dataset(("hr[bpm]", "time"), np.full(40, -1)))
    with pytest.raises(DataError, match="dyn.parquet: the columns time, time would have one name"):
        export(tmp_path / "time.npz", "yaib", tmp_path / "other", step_minutes=60.0)


def test_stages_that_end_together_keep_their_entries(tmp_path):
    code = (
        "import sys, time, pathlib\nfrom configs import load_config\n"
        "from configs.run_record import record_stage\n"
        f"config = load_config(['{TINY}', 'runs_dir={tmp_path}'])\n"
        f"while not pathlib.Path('{tmp_path}/go').exists(): time.sleep(0.01)\n"
        "for k in range(20): record_stage(config, f'{sys.argv[1]}_{k}', {})\n"
    )
    stages = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "abc"]
    time.sleep(3)  # all are ready
    (tmp_path / "go").touch()
    assert [stage.wait() for stage in stages] == [0, 0, 0]
    record = json.loads((tmp_path / "tiny" / "record.json").read_text())
    assert set(record) == {f"{name}_{k}" for name in "abc" for k in range(20)}


def test_a_death_before_admission_is_not_one_of_the_first_day():
    """Hours of death from admission; such a date is most likely a slip."""
    hours, unknown = (-2.0, -0.5, 3.0, 24.0, None), ", NULL AS unknown_sex, NULL AS unknown_outcome"
    died = "UNION ALL ".join(
        f"SELECT {k} AS id, 50 AS age, 1 AS visit, 30.0 AS hours, 1 AS died, "
        f"{'NULL' if hour is None else hour}::DOUBLE AS dead_at{unknown} "
        for k, hour in enumerate(hours)
    )
    flow = [FlowStep("stays", 0, len(hours))]
    with open_engine(memory_limit="500MB", threads=1) as engine:
        engine.run(f"CREATE TABLE stays AS {died}")
        told = inclusion_criteria.oddities(engine, 24.0)
        rules = inclusion_criteria.clinical_rules(Settings(window_hours=24.0))
        apply_rules(engine, "stays", rules, flow)
    removed = {step.rule: step.removed for step in flow if step.removed}
    assert removed == {"died before admission to the unit": 2, "died within the first 24 h": 1}
    assert told == [f"stays kept although {rule}: {n}" for rule, n in removed.items()]


def test_the_dictionary_is_among_the_files_that_decide_a_build(open_data):
    """A changed range asks for a new build."""
    more = ["data=mimic3", f"data.mimic3.folder={open_data / 'mimic3_demo'}"]
    data = load_config([TINY, *more, "data.window_hours=24"]).data
    shared = {name: getattr(data, name) for name in Settings.__dataclass_fields__}
    found = read_source("mimic3", data.mimic3, Settings(**shared))
    assert DICTIONARY in found.files
