"""What new_experiment asks, and what it refuses in one sentence that names the key or column."""

import logging
import re

import duckdb
import numpy as np
import pytest

from configs import load_config
from configs.runtime.errors import DataError, MissingInputError
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.new_experiment.__main__ import main
from scripts.quality.common.comparison import MIN_LENGTH
from tardiff.synthesiser import Synthesiser
from tests.support.user_tables import CHANNELS, N, changed, long_rows, propose, told, wide, write

rng = np.random.default_rng(1)


def test_what_is_text_and_changes_is_no_channel_and_no_covariate(tmp_path, caplog):
    """A heart rate with its unit was to be a static covariate, or said never to change."""
    header, rows = wide()
    cells = r"rate \(such as '8\d /min'\)", r"on \(such as '(ja|nein)'\)"
    said = "{}, {}: most cells are no numbers, so no channel"
    texts = [[*row, f"{80 + row[2]} /min", "nein" if row[2] else "ja"] for row in rows]
    with caplog.at_level(logging.INFO):
        propose(tmp_path, write(tmp_path / "x.csv", [*header, "rate", "on"], texts))
    assert re.search(said.format(*cells), caplog.text)
    assert re.search(r"not used +ward; as static", caplog.text)
    long = [
        [i, 60 * t, name, cell, i % 4 == 0]
        for i in range(N)
        for t in range(6)
        for name, cell in (
            ("hr", i + t),
            ("rate", f"{80 + t} /min"),
            ("on", "nein" if t else "ja"),
            ("bed", 3),
        )
    ]
    (tmp_path / "mine.yaml").unlink()
    caplog.clear()
    config = told(tmp_path, caplog, long)
    assert config.data.table.channels == ["hr"]
    assert re.search(said.format(*cells[::-1]), caplog.text)  # by name
    assert "bed: never changes" in caplog.text and "drop_unreadable" not in caplog.text


def test_a_code_for_missing_is_told_again_where_the_data_are_built(tmp_path, caplog):
    header, rows = wide()
    coded = [
        [-999 if c == 3 and i % 9 == 0 else v for c, v in enumerate(r)] for i, r in enumerate(rows)
    ]
    config = propose(tmp_path, write(tmp_path / "x.csv", header, coded))
    asked = "54 values of `heart_rate[bpm]` are -999"
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        ensure_built(config.data)
    assert asked in caplog.text
    more = re.findall(r'"(data.table.ranges=.*)"', caplog.text.replace("LOW, HIGH", "20, 300"))
    again = ["data.rebuild=true", *more]
    caplog.clear()
    ensure_built(load_config([str(tmp_path / "mine.yaml"), *again]).data)
    assert len(more) == 1 and "a code for missing" not in caplog.text


def test_a_long_table_by_other_names_is_not_read_as_a_wide_one(tmp_path):
    """Its variables would be averaged into one channel."""
    rows = list(long_rows(lambda i: 4))
    path = write(tmp_path / "x.csv", ["stay", "minute", "sign", "value", "died"], rows)
    asked = "data.table.variable=sign data.table.value=value; if not, data.table.layout=wide"
    with pytest.raises(DataError, match=asked):
        propose(tmp_path, path)
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    config = propose(folders[0], path, "data.table.variable=sign")
    assert config.data.table.channels == ["hr", "resp", "spo2"]
    other = write(tmp_path / "y.csv", ["stay", "minute", "sign", "wert", "died"], rows)
    with pytest.raises(DataError, match="variable=sign makes a long table, and no column looks"):
        propose(tmp_path, other, "data.table.variable=sign")
    columns = ["case", "when", "sign", "value"]
    apart = write(tmp_path / "z.csv", columns, [row[:4] for row in rows])
    labels = write(tmp_path / "labels.csv", ["case", "died"], {(row[0], row[4]) for row in rows})
    config = propose(folders[1], apart, labels, "data.table.variable=sign", "data.table.time=when")
    assert config.data.table.id == "case"


def test_covariates_must_stand_with_the_labels(tmp_path, caplog):
    header, rows = wide()
    keep = [k for k, name in enumerate(header) if name != "outcome"]
    series = write(
        tmp_path / "x.csv", [header[k] for k in keep], [[r[k] for k in keep] for r in rows]
    )
    place = {name: k for k, name in enumerate(header)}
    of_stay = {(r[place["stay_id"]], r[place["outcome"]]) for r in rows}
    labels = write(tmp_path / "y.csv", ["stay_id", "outcome"], sorted(of_stay))
    with caplog.at_level(logging.INFO):
        propose(tmp_path, series, labels)
    assert "copied into y.csv and named in data.table.static=[...]" in caplog.text


@pytest.mark.parametrize("first", ["series", "labels"])
def test_two_files_with_a_time_are_told_apart_in_either_order(tmp_path, first):
    """Labels have a time of death; a label may stand in the file of series."""
    header, rows = wide()
    series = write(tmp_path / "series.csv", header[:-1], [row[:-1] for row in rows])
    own = {(r[0], f"2020-02-{1 + r[0] % 28} 10:00", r[-1]) for r in rows}
    labels = write(tmp_path / "labels.csv", ["stay_id", "time_of_death", "died"], sorted(own))
    files = (series, labels) if first == "series" else (labels, series)
    table = propose(tmp_path, *files).data.table
    assert (table.series, table.labels, table.label) == (str(series), str(labels), "died")


@pytest.mark.parametrize("named", [[], ["data.table.label=outcome"]])
def test_a_label_in_the_series_only_is_said_to_be_there(tmp_path, named):
    path = write(tmp_path / "x.csv", *wide())
    known = write(tmp_path / "y.csv", ["stay_id", "age"], {(row[0], row[5]) for row in wide()[1]})
    said = (
        r"y.csv: the label `outcome` stands in x.csv only; give that file alone, or copy .* y.csv"
    )
    with pytest.raises(DataError, match=said):
        propose(tmp_path, path, known, *named)


def test_a_flag_has_no_code_for_missing(tmp_path, caplog):
    """Nor has a dose that is mostly 0, a sign, or a scale that starts at -1."""
    rows = [
        [i, 60 * t, name, value, i % 4 == 0]
        for i in range(N)
        for t in range(12)
        for name, value in (
            ("flag", int(rng.random() < 0.3)),
            ("dose", 0.2 * int(rng.random() < 0.03)),
            ("sign", -1 if rng.random() < 0.1 else 1),
            ("scale", int(rng.integers(-1, 4)) or 1),
            ("hr", round(80 + 5 * rng.normal(), 2)),
        )
    ]
    told(tmp_path, caplog, rows)
    assert "a code for missing" not in caplog.text


def test_a_code_that_was_averaged_with_measurements_is_asked_about(tmp_path, caplog):
    """Two measurements in every other hour: the mean of a code and a number is neither."""
    rows = [
        [i, 60 * t + m, "hr", 9999 if rng.random() < 0.03 else 60 + rng.integers(60), i % 4 == 0]
        for i in range(N)
        for t in range(12)
        for m in ((0, 30) if t % 2 else (0,))
    ]
    told(tmp_path, caplog, rows, "data.step_minutes=60")
    assert "values of `hr` are 9999, most others" in caplog.text


def test_one_code_in_many_channels_is_one_question(tmp_path, caplog):
    rows = [
        [i, 60 * t, name, -999 if rng.random() < 0.1 else 60 + rng.integers(60), i % 4 == 0]
        for i in range(N)
        for t in range(12)
        for name in "abcde"
    ]
    told(tmp_path, caplog, rows)
    assert "values of `a`, `b`, `c`, `d`, `e` are -999, most others of `a` 6" in caplog.text
    assert caplog.text.count("a code for missing") == 1
    assert ", ".join(f"'{name}': [LOW, HIGH]" for name in "abcde") in caplog.text


def test_a_variable_in_two_units_is_told(tmp_path, caplog):
    resp = ("", "hz", "Hz")  # one unit, however it is written, and none
    rows = [
        [*row, {"hr": "bpm" if row[0] else "1/s", "spo2": "%"}.get(row[2], resp[row[0] % 3])]
        for row in long_rows(lambda i: 12)
    ]
    columns = ["stay", "minute", "variable", "value", "died", "Value_UOM"]
    with caplog.at_level(logging.WARNING):
        config = propose(tmp_path, write(tmp_path / "x.csv", columns, rows))
    asked = "by the column Value_UOM, read as one: `hr` (bpm 948, 1/s 12). Convert them in the file"
    assert asked in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        ensure_built(config.data)
    assert asked in caplog.text


def test_wards_in_a_column_unit_are_no_units(tmp_path, caplog):
    rows = [[*row, ("MICU", "SICU")[row[0] % 2]] for row in long_rows(lambda i: 12)]
    columns = ["stay", "minute", "variable", "value", "died", "unit"]
    with caplog.at_level(logging.WARNING):
        propose(tmp_path, write(tmp_path / "x.csv", columns, rows))
    assert "values in several units" not in caplog.text


def test_numbers_of_rows_and_people_are_asked_about(tmp_path, caplog):
    """The index that pandas writes is left out; a name such as inr is not asked about."""
    header, rows = wide()
    names = ["__index_level_0__", "line", "caregiver_id", "itemSeq", "inr", "gcs", "steps_no"]
    more = [[k, 7000 + k, k % 91, k % 6, k % 5, k % 13, k % 5 + 0.5] for k in range(len(rows))]
    both = [[*row, *own] for row, own in zip(rows, more, strict=True)]
    path = write(tmp_path / "x.csv", [*header, *names], both)
    with caplog.at_level(logging.INFO):
        config = propose(tmp_path, path)
    assert config.data.table.channels == [*CHANNELS, *names[1:]]
    asked = re.search(
        r"`line`, `caregiver_id`, `itemSeq`: measured\? .* (\S+)='(.*)' leaves", caplog.text
    )
    again = propose(tmp_path / "again", path, f"{asked[1]}={asked[2]}").data.table.channels
    assert again == [*CHANNELS, "inr", "gcs", "steps_no"]
    assert caplog.text.count("measured?") == 1


@pytest.mark.parametrize(("delimiter", "asked"), [(";", True), (",", False)])
def test_points_that_may_separate_thousands_are_asked_about(tmp_path, caplog, delimiter, asked):
    """German platelets of 160.367 were read as 160, beside 980 as it is."""
    rule = {"lactate": lambda r: f"{160 + r['hour']}.367" if r["stay_id"] % 9 else 980}
    path = write(tmp_path / "x.csv", *changed(**rule), delimiter=delimiter)
    with caplog.at_level(logging.INFO):
        propose(tmp_path, path)
    told = "every point of `lactate` stands before three digits (first '16"
    assert (told in caplog.text) == asked and caplog.text.count("three digits") == asked


@pytest.mark.parametrize("points", [MIN_LENGTH - 1, MIN_LENGTH])
def test_series_too_short_for_metrics_are_evaluated_without(tmp_path, caplog, points):
    """Stage 4 refused them, after all the trainings."""
    header, rows = wide()
    short = [row for row in rows if row[header.index("hour")] < points]
    with caplog.at_level(logging.INFO):
        evaluation = propose(tmp_path, write(tmp_path / "x.csv", header, short)).evaluation
    assert evaluation.fidelity == evaluation.privacy == (points >= MIN_LENGTH)
    assert ("fidelity and privacy: series have 3 grid points" in caplog.text) == (points == 3)


def test_unknown_as_a_class_and_as_a_negative_number_is_asked_about(tmp_path, caplog):
    rules = {
        "outcome": lambda r: "Unknown" if r["stay_id"] % 4 == 1 else r["outcome"],
        "age": lambda r: "-1" if r["stay_id"] % 9 == 1 else r["age"],
    }
    with caplog.at_level(logging.WARNING):
        ensure_built(propose(tmp_path, write(tmp_path / "x.csv", *changed(**rules))).data)
    assert "the label Unknown (20 stays) counts as a class; if it means unknown" in caplog.text
    assert re.search(r"[89] values of `age` are -1, most others 4. to 6.*: a code", caplog.text)
    assert "the label survived" not in caplog.text


def test_a_boolean_of_a_table_is_a_channel(tmp_path):
    """As a type in Parquet, in words in CSV, where pandas writes True."""
    header, rows = changed(ward=lambda r: str((r["stay_id"] + r["hour"]) % 3 > 0))
    path = write(tmp_path / "x.csv", header, rows)
    duckdb.sql(f"COPY (FROM read_csv('{path}')) TO '{tmp_path / 'x.parquet'}'")
    found = []
    for number, name in enumerate(("x.csv", "x.parquet")):
        (tmp_path / f"{number}").mkdir()
        config = propose(tmp_path / f"{number}", tmp_path / name)
        assert config.data.table.channels == [*CHANNELS, "ward"]
        ensure_built(config.data)
        found.append(load_splits(config.data).train.values)
    np.testing.assert_array_equal(*found)
    assert set(np.unique(found[0][:, -1])) == {0.0, 1.0}


def test_a_label_that_may_be_unknown_is_named_where_its_class_is_too_small(tmp_path):
    rows = changed(outcome=lambda r: -1 if r["stay_id"] == 5003 else r["stay_id"] % 2)
    said = "too few series .* And the label -1 \\(1 stays\\) counts as a class; if it means unknown"
    with pytest.raises(DataError, match=said):
        propose(tmp_path, write(tmp_path / "x.csv", *rows))


def test_names_that_differ_by_case_or_spaces_are_asked_about(tmp_path, caplog):
    names = {"hr": "HR", "resp": "R  R", "spo2": "SpO2"}
    rows = [
        [*row[:2], names[row[2]] if row[0] % 2 else row[2], *row[3:]]
        for row in long_rows(lambda i: 12)
    ]
    told(tmp_path, caplog, rows)
    assert (
        "channels `HR`, `hr` differ by case or spaces only: one variable, written in 2 ways?"
        in caplog.text
    )
    assert "`resp`" not in caplog.text.split("for you to decide")[1]


@pytest.mark.parametrize("swapped", [False, True])
def test_more_channels_than_points_may_be_swapped_axes(tmp_path, caplog, swapped):
    x = rng.normal(size=(N, 12, 3) if swapped else (N, 3, 12))
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(N) % 2)
    with caplog.at_level(logging.INFO):
        main([str(tmp_path / "x.npz"), f"out={tmp_path / 'mine.yaml'}"])
    assert ("if yours are (series, time, channel)" in caplog.text) == swapped


def test_a_synthesiser_is_fitted_first(tmp_path):
    model = Synthesiser(tmp_path, config="tiny")
    with pytest.raises(MissingInputError, match=r"holds no fit yet; call fit\(x, y\) first"):
        model.sample([10, 10])
