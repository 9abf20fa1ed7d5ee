"""YAIB trios: real cohorts against independent code, rules for labels by hour, and bad input."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from configs.runtime.errors import ConfigError, DataError, MissingInputError
from configs.schema.data_sources import YaibConfig
from data_preprocess.export.yaib import write_yaib
from data_preprocess.sources.registry import Settings
from data_preprocess.sources.yaib.reader import read_yaib


def read(folder, *, hours=25.0, **section):
    settings = Settings(window_hours=hours, memory_limit="500MB", threads=1)
    return read_yaib(YaibConfig(folder=str(folder), **section), settings).pool


def frame(path):
    with duckdb.connect() as connection:
        return connection.execute(f"FROM '{path}'").df()


def stored(folder, **tables):
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        with duckdb.connect() as connection:
            connection.register("frame", table)
            connection.execute(f"COPY frame TO '{folder / name}.parquet' (FORMAT parquet)")
    return folder


def in_order_of_ids(cohort, folder):
    """The stay ids of a cohort's rows: those with a value, in the order of ids as text."""
    dyn = frame(folder / "dyn.parquet")
    return dyn, sorted(map(str, frame(folder / "outc.parquet")["stay_id"].unique()))


def test_every_value_of_a_real_cohort_equals_independent_code(open_data):
    folder = open_data / "yaib_demo" / "mortality24"
    cohort = read(folder)
    dyn, ids = in_order_of_ids(cohort, folder)
    variables = [name for name in dyn.columns if name not in ("stay_id", "time")]
    assert len(cohort) == 1367 and cohort.values.shape[1:] == (48, 25)
    table = dyn.assign(hour=dyn["time"] // 3600).set_index(["stay_id", "hour"]).sort_index()
    every = table.loc[[int(i) for i in ids], variables].to_numpy().reshape(1367, 25, 48)
    np.testing.assert_array_equal(cohort.values, every.transpose(0, 2, 1).astype(np.float32))
    outcomes = frame(folder / "outc.parquet").set_index("stay_id")["label"]
    np.testing.assert_array_equal(cohort.labels, outcomes.loc[[int(i) for i in ids]])
    assert cohort.labels.sum() == 70 and cohort.label_names == ("0", "1")
    sta = frame(folder / "sta.parquet").set_index("stay_id").loc[[int(i) for i in ids]]
    sex = sta["sex"].map({"Male": 1.0, "Female": 0.0})
    expected = np.column_stack([sta["age"], sex, sta["height"], sta["weight"]])
    np.testing.assert_array_equal(cohort.static, expected.astype(np.float32))
    assert cohort.static_names == ("age[years]", "sex[1=male]", "height[cm]", "weight[kg]")


def test_the_remaining_stay_becomes_one_label(open_data):
    folder = open_data / "yaib_demo" / "los"
    cohort = read(folder, hours=24.0, rule="longer", channels=["heart_rate", "resp"])
    outc = frame(folder / "outc.parquet").sort_values(["stay_id", "time"])
    stays = outc.groupby("stay_id")
    stayed = stays["time"].max() >= 23 * 3600
    long = (stays["label"].first() > 72)[stayed]
    flow = {step.rule: step for step in cohort.flow}
    assert flow["shorter than 24 h"].left == stayed.sum() == 1637
    dyn = frame(folder / "dyn.parquet")
    seen = dyn[(dyn["time"] < 24 * 3600) & dyn[["hr", "resp"]].notna().any(axis=1)]["stay_id"]
    kept = long[long.index.isin(seen)]
    assert (len(cohort), cohort.labels.sum()) == (len(kept), kept.sum())
    assert cohort.label_names == ("stay <= 3 days", "stay > 3 days")
    assert cohort.feature_names == ("heart_rate[bpm]", "respiratory_rate[1/min]")


def test_hospitals_keep_their_stays_together(open_data):
    patients = open_data / "eicu_demo" / "patient.csv.gz"
    cohort = read(
        open_data / "yaib_demo" / "mortality24",
        channels=["hr"],
        subjects=str(patients),
        subject_key="patientunitstayid",
        subject="hospitalid",
    )
    known = pd.read_csv(patients).set_index("patientunitstayid")["hospitalid"]
    dyn, ids = in_order_of_ids(cohort, open_data / "yaib_demo" / "mortality24")
    measured = set(dyn[dyn["hr"].notna()]["stay_id"])
    hospitals = [known[int(i)] for i in ids if int(i) in measured]
    pairs = set(zip(hospitals, cohort.subject_ids.tolist(), strict=True))
    assert len(pairs) == len(set(hospitals)) == len(set(cohort.subject_ids))
    assert cohort.notes == ()


def test_a_cohort_that_names_no_patients_says_so(open_data):
    """Its 1,367 stays are of 1,146 patients: of these, nothing is disjoint."""
    (note,) = read(open_data / "yaib_demo" / "mortality24", channels=["hr"]).notes
    assert note == "no column of patients is named: every series counts as its own patient"


def test_covariates_and_hospitals_of_other_stays_are_refused(open_data, tmp_path):
    """All ages were unknown, and every stay was a patient of its own, without a word."""
    cohort = open_data / "yaib_demo" / "mortality24"
    people = frame(cohort / "sta.parquet")
    other = people.assign(stay_id="9" + people.stay_id.astype(str))
    other.to_csv(tmp_path / "patient.csv", index=False)
    with pytest.raises(
        DataError, match="patient.csv: no row names a stay .*stay_id here: 9[0-9]+, in the"
    ):
        read(cohort, subjects=str(tmp_path / "patient.csv"), subject_key="stay_id", subject="sex")
    tables = {name: frame(cohort / f"{name}.parquet") for name in ("dyn", "outc")}
    with pytest.raises(DataError, match="sta.parquet: no row names a stay of the cohort"):
        read(stored(tmp_path / "cohort", **tables, sta=other))


def test_a_set_comes_back_as_it_was(tmp_path, make_dataset):
    dataset = make_dataset(
        9,
        feature_names=("heart_rate[bpm]", "fio2[fraction]"),
        static=np.array([[60.5, 1, 2], [np.nan, 0, np.nan], [70, np.nan, 1]] * 3, np.float32),
        static_names=("age[years]", "sex[1=male]", "icu_type[1=a,2=b]"),
    )
    observed = dataset.observed.copy()
    observed[:, 0, 0] = True  # nobody without a value
    dataset = make_dataset(9, **vars(dataset) | {"observed": observed})
    write_yaib(tmp_path, dataset, step_minutes=60.0)
    cohort = read(tmp_path, hours=4.0, classes=["survived", "died"])
    expected = np.where(observed, dataset.values, np.nan)
    np.testing.assert_array_equal(cohort.values, expected)
    np.testing.assert_array_equal(cohort.labels, dataset.labels)
    np.testing.assert_array_equal(cohort.static, dataset.static)
    for name in ("feature_names", "label_names", "static_names"):
        assert getattr(cohort, name) == getattr(dataset, name)


STA = pd.DataFrame({"stay_id": [1, 2, 3], "age": [60.0, 70, 80], "sex": ["Male", "Female", None]})
HOURS = [(stay, hour) for stay, hours in ((1, 5), (2, 3), (3, 5)) for hour in range(hours)]
DYN = pd.DataFrame(HOURS, columns=["stay_id", "time"]).assign(hr=80.0)
DYN["hr"] += np.arange(len(DYN))
LABELS = pd.DataFrame(HOURS, columns=["stay_id", "time"])


@pytest.mark.parametrize(
    "rule,positive,ids,labels,removed",
    [
        ("last", {1: 2, 2: 2}, [1, 2, 3], [1, 1, 0], []),
        ("max", {1: 4}, [1, 2, 3], [1, 0, 0], []),
        ("later", {1: 3, 2: 0}, [1, 3], [1, 0], [("labelled within the first 3 h", 1)]),
    ],
)
def test_rules_make_one_label_of_those_by_hour(tmp_path, rule, positive, ids, labels, removed):
    """`positive`: the hour from which a stay is labelled 1."""
    by_hour = [float(t >= positive.get(stay, 99)) for stay, t in HOURS]
    folder = stored(tmp_path, dyn=DYN, sta=STA, outc=LABELS.assign(label=by_hour))
    cohort = read(folder, hours=3.0, rule=rule)
    assert cohort.labels.tolist() == labels
    assert cohort.static[:, 0].tolist() == [STA["age"][i - 1] for i in ids]
    found = [(step.rule, step.removed) for step in cohort.flow if step.removed]
    assert found == removed


@pytest.mark.parametrize("rule", ["last", "max", "later", "longer"])
def test_a_stay_without_any_label_is_no_negative(tmp_path, rule):
    """Also where labels by hour are truth values."""
    hours = 96.0 if rule == "longer" else 1.0
    label = [None if stay == 3 else hours * (stay == 1 and t > 3) for stay, t in HOURS]
    if rule == "longer":
        label = [None if stay == 3 else hours * (stay == 1) for stay, _ in HOURS]
    table = LABELS.assign(label=label)
    if rule != "longer":
        table["label"] = table["label"].astype("boolean")
    folder = stored(tmp_path, dyn=DYN, sta=STA, outc=table)
    cohort = read(folder, hours=5.0 if rule in ("last", "max") else 3.0, rule=rule)
    assert cohort.labels.tolist() == [1, 0] and cohort.static[:, 0].tolist() == [60, 70]
    assert ("without a label", 1) in [(step.rule, step.removed) for step in cohort.flow]


def test_hours_before_the_first_label_are_part_of_the_stay(tmp_path):
    """Both stays last 74 h; of one the first three hours have no label, so the first says 71."""
    label = [None if stay == 2 or (stay == 3 and t < 3) else 74.0 - t for stay, t in HOURS]
    folder = stored(tmp_path, dyn=DYN, sta=STA, outc=LABELS.assign(label=label))
    cohort = read(folder, hours=3.0, rule="longer")
    assert cohort.label_names[1] == "stay > 3 days" and cohort.labels.tolist() == [1, 1]


def test_labels_of_stays_may_be_absent_and_are_never_guessed(tmp_path):
    outc = pd.DataFrame({"stay_id": [1, 2, 3], "label": [True, False, None]})
    cohort = read(stored(tmp_path, dyn=DYN, sta=STA, outc=outc), hours=3.0)
    assert cohort.labels.tolist() == [1, 0] and cohort.flow[1].removed == 1
    words = LABELS.assign(label=["soon" if t == 2 else "0" for _, t in HOURS])
    with pytest.raises(DataError, match="3 labels of label are no numbers .such as 'soon'"):
        read(stored(tmp_path, outc=words), hours=3.0, rule="max")


def test_ids_as_text_absent_stays_and_repeated_hours(tmp_path):
    extra = pd.DataFrame({"stay_id": [2, 9], "time": [0, 0], "hr": [100.0, 1.0]})
    outc = pd.DataFrame({"stay_id": ["1", "2", "3", "7"], "label": [0, 1, 0, 1]})
    folder = stored(tmp_path, dyn=pd.concat([DYN, extra]), sta=STA, outc=outc)
    cohort = read(folder, hours=3.0)
    assert cohort.labels.tolist() == [0, 1, 0]  # 7 has a label and no values
    assert cohort.values[1, 0, 0] == (85 + 100) / 2
    assert [step.removed for step in cohort.flow] == [0, 0, 0, 1, 0]
    assert any("without a label, not read: 1" in note for note in cohort.notes)


def test_free_text_is_no_covariate_and_ages_and_few_words_are(tmp_path, caplog):
    stays = range(60)
    sta = pd.DataFrame({"stay_id": stays, "unit": [f"unit {i % 3}" for i in stays]})
    sta["age"] = [str(30 + i) if i < 59 else "> 89" for i in stays]
    sta["reason"] = [f"fell, floor {i}" for i in stays]
    sta["room"] = [str(100 + i) if i < 59 else "corridor" for i in stays]
    hours = pd.DataFrame({"stay_id": np.repeat(stays, 3), "time": [0, 1, 2] * 60})
    hours["hr"] = 80.0 + np.arange(180)
    outc = pd.DataFrame({"stay_id": stays, "label": [i % 2 for i in stays]})
    cohort = read(stored(tmp_path, dyn=hours, sta=sta, outc=outc), hours=3.0)
    assert [name.partition("[")[0] for name in cohort.static_names] == ["unit", "age"]
    assert "sta.parquet: reason has 60 different texts" in caplog.text
    assert "sta.parquet: room has 60 different texts" in caplog.text


def test_hours_of_labels_may_be_lengths_of_time_and_no_dates(tmp_path):
    folder = stored(tmp_path, dyn=DYN, sta=STA, outc=LABELS.assign(label=1.0))
    hours = "stay_id, (stay_id = 1 AND time > 3)::INTEGER AS label"
    for time, fits in (
        ("to_hours(time)", True),
        ("TIMESTAMP '2020-01-01' + to_hours(time)", False),
    ):
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (SELECT {hours}, {time} AS time FROM '{folder}/dyn.parquet') "
                f"TO '{folder}/outc.parquet' (FORMAT parquet)"
            )
        if fits:
            assert read(folder, hours=5.0, rule="last").labels.tolist() == [1, 0, 0]
        else:
            with pytest.raises(DataError, match="time holds time stamps, expected hours"):
                read(folder, hours=5.0, rule="last")


def two_labels(folder):
    stored(folder, outc=pd.DataFrame({"stay_id": [1, 1, 2, 3], "label": [0, 1, 0, 1]}))
    return DataError, "the id 1 has 2 rows that differ in label"


def two_persons(folder):
    stored(folder, sta=pd.concat([STA, STA.assign(age=99.0)]))
    return DataError, "sta.parquet: the stay 1 has 2 rows that differ in age .3 such stays"


def a_covariate_called_label(folder):
    stored(folder, sta=STA.assign(Label=[7.0, 8.0, 9.0]))
    return DataError, "sta.parquet beside outc.parquet: the columns label, Label would have one"


def rounded_ids(folder):
    stored(folder, outc=pd.DataFrame({"stay_id": [1, 2, 2.0**53], "label": [0, 1, 0]}))
    return DataError, "outc.parquet: the id 9007199254740992.0 in stay_id is a rounded number"


def no_table(folder):
    (folder / "sta.parquet").unlink()
    return MissingInputError, "no sta.parquet; data.yaib.folder is a folder with dyn.parquet"


def no_column(folder):
    stored(folder, outc=pd.DataFrame({"stay": [1], "label": [0]}))
    return DataError, "outc.parquet: no column stay_id; it has stay, label"


def hours_left(folder):
    stored(folder, dyn=long_stays(100), outc=long_stays(100)[["stay_id", "time", "label"]])
    return DataError, "makes 98 different labels of 100 stays; for remaining hours choose longer"


def long_stays(count):
    rows = [(stay, hour, stay - hour) for stay in range(count) for hour in range(3)]
    return pd.DataFrame(rows, columns=["stay_id", "time", "label"]).clip(lower=0).assign(hr=1.0)


def no_label(folder):
    stored(folder, outc=pd.DataFrame({"stay_id": [1, 2, 3], "label": [np.nan] * 3}))
    return DataError, "nobody is left .*stays of outc.parquet.*without a label: -3, 0 left"


def not_parquet(folder):
    Path(folder / "dyn.parquet").write_text("stay_id,time,hr\n")
    return DataError, "dyn.parquet: not readable as Parquet"


SPOILED = [two_labels, two_persons, a_covariate_called_label, rounded_ids, no_table, no_column]


@pytest.mark.parametrize("spoil", [*SPOILED, hours_left, no_label, not_parquet])
def test_a_bad_trio_is_one_error(tmp_path, spoil):
    outc = pd.DataFrame({"stay_id": [1, 2, 3], "label": [0, 1, 0]})
    folder = stored(tmp_path, dyn=DYN, sta=STA, outc=outc)
    kind, message = spoil(folder)
    with pytest.raises(kind, match=message):
        read(folder, hours=3.0)


def test_a_stay_of_two_patients_is_a_fault_of_the_table_that_says_so(tmp_path):
    outc = pd.DataFrame({"stay_id": [1, 2, 3], "label": [0, 1, 0]})
    folder = stored(tmp_path / "cohort", dyn=DYN, sta=STA.assign(id=7), outc=outc)
    people = tmp_path / "people.csv"
    people.write_text("stay_id,subject\n1,A\n2,B\n3,C\n3,C\n3,D\n9,E\n9,F\n")
    with pytest.raises(DataError, match="people.csv: the stay 3 has 3 rows that .* in subject .1 "):
        read(folder, hours=3.0, subjects=str(people))
    people.write_text("stay_id,subject\n1,A\n2,B\n3,C\n3,C\n9,E\n9,F\n")
    assert len(read(folder, hours=3.0, subjects=str(people))) == 3


def test_wrong_settings_are_named(tmp_path):
    outc = pd.DataFrame({"stay_id": [1, 2, 3], "label": [0, 1, 0]})
    folder = stored(tmp_path, dyn=DYN, sta=STA, outc=outc)
    for section, kind, message in (
        ({"channels": ["pulse"]}, ConfigError, "has no pulse; it has hr"),
        ({"classes": ["a"]}, DataError, r"data.yaib.classes=\['a'\], but the labels are 0, 1"),
    ):
        with pytest.raises(kind, match=message):
            read(folder, hours=3.0, **section)
    with pytest.raises(ConfigError, match="data.yaib.folder is not set"):
        read_yaib(YaibConfig(), Settings())
