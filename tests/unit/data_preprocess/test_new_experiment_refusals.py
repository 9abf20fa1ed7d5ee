"""Tables that new_experiment refuses, and with which sentence."""

import duckdb
import pytest

from configs.runtime.errors import ConfigError, DataError
from tests.support.user_tables import CHANNELS, N, changed, propose, wide, write


@pytest.mark.parametrize("role", ["id", "time", "label", "subject"])
def test_a_named_column_that_is_absent(tmp_path, role):
    path = write(tmp_path / "x.csv", *wide())
    with pytest.raises(DataError, match=rf"data.table.{role}=nope: there is no such column; x.csv"):
        propose(tmp_path, path, f"data.table.{role}=nope")
    with pytest.raises(ConfigError, match=rf"{role}=nope: write the key in full, data.table"):
        propose(tmp_path, path, f"{role}=nope")


def test_an_unknown_key_is_answered_without_the_name_of_a_draft(tmp_path):
    with pytest.raises(ConfigError, match=r"^unknown key 'data.window'; did you mean 'data.window"):
        propose(tmp_path, write(tmp_path / "x.csv", *wide()), "data.window=6")


def test_a_key_of_another_type_is_refused_before_it_is_looked_up(tmp_path):
    with pytest.raises(ConfigError, match=r"^data.table.time: Cannot convert"):
        propose(tmp_path, write(tmp_path / "x.csv", *wide()), "data.table.time.hour=6")


def test_two_files_without_a_common_name(tmp_path):
    header, rows = wide()
    series = write(tmp_path / "x.csv", header[:-1], [row[:-1] for row in rows])
    labels = write(tmp_path / "y.csv", ["icu_stay", "died"], [[i, i % 2] for i in range(N)])
    with pytest.raises(DataError, match=r"x.csv \(stay_id.*y.csv \(icu_stay, died\) have no colum"):
        propose(tmp_path, series, labels)


HOSTILE = {
    "no_numbers": (dict.fromkeys(CHANNELS), "no column of numbers that change within a series"),
    "one_class": ({"outcome": lambda r: "died"}, r"one class \(died\); two or more are needed"),
    "no_label_of_any": (
        {"outcome": lambda r: ""},
        "`outcome` has no class; two or more are needed",
    ),
    "ids_as_labels": ({"outcome": lambda r: r["stay_id"]}, "looks like ids or measurements"),
    "label_changes": (
        {"outcome": lambda r: "died" if r["hour"] > 3 else "survived"},
        r"changes within a series \(5000 has died and survived\)",
    ),
    "rows_without_id": (
        {"stay_id": lambda r: "" if r["hour"] == 5 else r["stay_id"]},
        r"[0-9]+ rows have an empty or unreadable cell in stay_id, outcome: id \(no id\)",
    ),
    "no_label": ({"outcome": None}, "no column looks like a label.*data.table.label=COLUMN"),
    "no_time": ({"hour": None}, "no column looks like a time.*data.table.time=COLUMN"),
    "times_of_another_form": (
        {"hour": lambda r: f"31/01/2020 {r['hour']:02d}:00"},
        r"the times in `hour` cannot be read \(such as '31/01/2020 ..:00'\); expected numbers",
    ),
    "no_id": (
        {"stay_id": None, "patient_id": None},
        "no column looks like the id of a series.*data.table.id=COLUMN",
    ),
    "neither_id_nor_time": (
        {"stay_id": None, "patient_id": None, "hour": None},
        "the id of a series.*data.table.id=COLUMN, none like a time.*data.table.time=COLUMN",
    ),
    "one_empty_label": (
        {"outcome": lambda r: "" if r["stay_id"] == 5007 else r["outcome"]},
        "1 rows have an empty or unreadable cell in stay_id, outcome: id 5007; .*unreadable=true$",
    ),
    "a_class_called_none": (
        {"outcome": lambda r: "None" if r["stay_id"] % 2 else r["outcome"]},
        r"id 5001, 5003, .* complete them, or .*\. 'None' is read as missing: rename such a class$",
    ),
    "the_other_class_called_none": (
        {"outcome": lambda r: "None" if r["stay_id"] % 2 else "moved"},
        r"`outcome` has one class \(moved\); two or more .*\. 'None' is read as missing: rename",
    ),
    "thousands_beside_points": (
        {"age": lambda r: "1,040" if r["stay_id"] == 5007 else r["age"]},
        r"`age` has numbers with a comma \(first '1,040'\), `heart_rate\[bpm\]` with a point",
    ),
    "thousands_alone": (
        {"lactate": lambda r: "1,360"} | {CHANNELS[0]: lambda r: 60 + r["hour"]},
        r"every comma of `lactate` stands before three digits.*data.table.decimal",
    ),
    "seconds_since_1970": (
        {"hour": lambda r: 1_711_800_000 + 3600 * r["hour"]},
        "begin at 1711800000 .median. and are counted from 0; seconds since 1970",
    ),
    "hours_from_1000": (
        {"hour": lambda r: 1000 + r["hour"]},
        "begin at 1000 .median. .*data.table.start=COLUMN",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_tables_are_refused_in_one_sentence(tmp_path, case):
    columns, message = HOSTILE[case]
    path = write(tmp_path / "x.csv", *changed(**columns))
    with pytest.raises(DataError, match=message) as error:
        propose(tmp_path, path)
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)
    assert not (tmp_path / "mine.yaml").exists()


def test_of_foreign_names_all_that_is_to_be_named_is_said_at_once(tmp_path):
    header, rows = wide()
    foreign = ["sejour", "malade", "quand", "fc", "lactate", "annees", "sexe", "service", "issue"]
    path = write(tmp_path / "x.csv", foreign, rows)
    with pytest.raises(DataError) as error:
        propose(tmp_path, path)
    for key in ("id=COLUMN", "time=COLUMN", "label=COLUMN", "subject=, variable=, value="):
        assert f"data.table.{key}" in str(error.value)
    assert f"(x.csv has {', '.join(foreign)})" in str(error.value)
    keys = {"id": "sejour", "time": "quand", "label": "issue", "subject": "malade"}
    named = [f"data.table.{role}={name}" for role, name in keys.items()]
    wrong = f"{named[0]}s, {named[1]}s: there is no such column"
    with pytest.raises(DataError, match=wrong):
        propose(tmp_path, path, *(f"{name}s" for name in named[:2]), *named[2:])
    assert propose(tmp_path, path, *named).data.table.channels == ["fc", "lactate"]


def test_repeated_headers_and_too_few_series(tmp_path):
    header, rows = wide()
    twice = [*header[:4], header[3], *header[5:]]
    with pytest.raises(DataError, match=r"'heart_rate\[bpm\]' stands twice"):
        propose(tmp_path, write(tmp_path / "x.csv", twice, rows))
    few = [row for row in rows if row[0] < 5020]
    with pytest.raises(DataError, match="too few series for four splits: 20 in all, train would"):
        propose(tmp_path, write(tmp_path / "y.csv", header, few))
    rare = [[*row[:-1], "died" if row[0] < 5012 else "survived"] for row in rows]
    path = write(tmp_path / "z.csv", header, rare)
    with pytest.raises(DataError, match="test would have 18 .* data.test is the share of test"):
        propose(tmp_path, path)
    assert propose(tmp_path, path, "data.test=0.3")


def test_meds_events_are_not_read_as_a_table(tmp_path):
    """The window began at the birth, and the prediction times were not used."""
    events, labels = tmp_path / "0.parquet", tmp_path / "labels.parquet"
    duckdb.sql(
        "SELECT 1 AS subject_id, TIMESTAMP '2020-01-01' AS time, 'hr' AS code, "
        "80.0 AS numeric_value"
    ).write_parquet(str(events))
    duckdb.sql(
        "SELECT 1 AS subject_id, TIMESTAMP '2020-01-02' AS prediction_time, true AS boolean_value"
    ).write_parquet(str(labels))
    with pytest.raises(DataError, match="MEDS events.*data=meds data.meds.folder="):
        propose(tmp_path, events, labels, "data.table.label=boolean_value")
