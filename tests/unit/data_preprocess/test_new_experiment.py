"""A config for a user's data: tables of several shapes become the arrays they hold; what cannot be
read is refused in a sentence that says which key or column."""

import logging
import re
from pathlib import Path

import duckdb
import numpy as np
import pytest

from configs import load_config
from configs.runtime.errors import ConfigError, DataError, MissingInputError
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.new_experiment.__main__ import main
from data_preprocess.storage.duckdb_engine import Engine
from tests.support.user_tables import (
    CHANNELS,
    DIED,
    HOURS,
    STAYS,
    VALUES,
    N,
    built,
    changed,
    propose,
    require_true,
    texts,
    wide,
    write,
)

DROP = "data.table.drop_unreadable"


def test_a_wide_table_with_everything_inside(tmp_path, caplog):
    path = write(tmp_path / "vitals.csv", *wide())
    with caplog.at_level(logging.INFO):
        config = propose(tmp_path, path)
    table = config.data.table
    assert (table.layout, table.id, table.subject) == ("wide", "stay_id", "patient_id")
    assert table.channels == list(CHANNELS) and table.static == ["age", "sex"]
    assert table.classes == ["survived", "died"] and table.time_unit == "hours"
    assert (config.data.window_hours, config.data.step_minutes) == (HOURS, 60)
    splits = require_true(config)
    subjects = [set(split.subject_ids.tolist()) for split in splits]
    assert sum(map(len, subjects)) == N // 2 == len(set.union(*subjects))
    assert splits[0].static_names == ("age", "sex[1=male]")
    assert "not used" in caplog.text and "ward" in caplog.text
    assert "is 'died' the class to be predicted?" in caplog.text
    assert "by few of the same patients, which gained little" in caplog.text  # 15 % against 45 %
    caplog.clear()
    with caplog.at_level(logging.INFO):
        propose(tmp_path / "more", path, "data.val_guide=0.3")
    assert "understood" in caplog.text and "which gained little" not in caplog.text
    assert config.data.space.masks and config.evaluation.models == ["gbdt"]


def test_a_table_in_a_folder_with_an_equals_sign(tmp_path):
    (tmp_path / "site=3").mkdir()
    path = write(tmp_path / "site=3" / "x.csv", *wide())
    config = propose(tmp_path / "site=3", path)
    assert config.data.table.series == str(path) and config.data.table.labels is None


def test_a_long_parquet_table_with_stamps_and_labels_beside(tmp_path):
    rows = [
        f"({STAYS[i]}, TIMESTAMP '2020-01-01' + INTERVAL {i * 100 + t} HOUR, '{name}', {v})"
        for i in range(N)
        for t in range(HOURS)
        for name, v in zip(CHANNELS, VALUES[i, :, t], strict=True)
        if not np.isnan(v)
    ]
    events = tmp_path / "events.parquet"
    duckdb.sql(
        f"COPY (SELECT * FROM (VALUES {', '.join(rows)}) AS t(icustay_id, charttime, itemname, "
        f"valuenum)) TO '{events}'"
    )
    labels = [[STAYS[i], int(DIED[i])] for i in range(N)]
    path = write(tmp_path / "labels.csv.gz", ["icustay_id", "mortality"], labels)
    config = propose(tmp_path, path, events)  # in either order
    assert config.data.table.layout == "long" and config.data.table.labels == str(path)
    assert config.data.table.classes is None and config.data.table.label == "mortality"
    require_true(config)


def test_a_file_is_parsed_once_to_be_looked_at_and_once_as_stage_1_does(
    tmp_path, monkeypatch, caplog
):
    parsed, run = [], Engine.run

    def counted(engine, sql, *, source=None):
        parsed.append("read_csv" in sql)
        return run(engine, sql, source=source)

    monkeypatch.setattr(Engine, "run", counted)
    with caplog.at_level(logging.INFO):
        propose(tmp_path, write(tmp_path / "x.csv", *wide()), "data.memory_limit=700MB")
    assert sum(parsed) == 2 and len(parsed) > 20
    said = [line for line in caplog.messages if line.endswith("...")]
    assert said == [
        "reading x.csv (0 MB) ...",
        "looking at the columns of x.csv ...",
        "making the series as stage 1 will ...",
        "reading x.csv (0 MB) ...",
    ]
    with pytest.raises(ConfigError, match="memory_limit='much'"):
        propose(tmp_path / "other", tmp_path / "x.csv", "data.memory_limit=much")


def test_stamps_with_slashes(tmp_path):
    path = write(tmp_path / "x.csv", *changed(hour=lambda r: f"2020/1/31 {r['hour']:02d}:30"))
    require_true(propose(tmp_path, path))


def test_semicolons_and_decimal_commas(tmp_path):
    path = write(tmp_path / "deutsch.csv", *wide(), delimiter=";", decimal=",")
    config = propose(tmp_path, path)
    assert config.data.table.decimal == ","
    require_true(config)


def test_minutes_without_a_name_for_the_unit(tmp_path, caplog):
    header, rows = wide(time="time")
    rows = [[*row[:2], row[2] * 90, *row[3:]] for row in rows]
    with caplog.at_level(logging.INFO):
        config = propose(tmp_path, write(tmp_path / "x.csv", header, rows))
    assert config.data.table.time_unit == "minutes"
    assert "the unit of the times in `time` is not named" in caplog.text
    assert (config.data.step_minutes, config.data.window_hours) == (90, 9)
    require_true(config)


def test_a_key_on_the_command_line_wins_and_is_written(tmp_path):
    path = write(tmp_path / "x.csv", *wide())
    config = propose(tmp_path, path, "data.table.channels=[lactate]", "experiment=other")
    assert config.experiment == "other" and config.data.table.channels == ["lactate"]
    ensure_built(config.data)
    assert load_splits(config.data).train.feature_names == ("lactate",)


def test_labels_in_several_spellings_are_one_class(tmp_path, caplog):
    """The order is proposed and asked about; three spellings are no three classes."""
    words = {0: "survived", 1: "Died", 2: "died"}
    rule = {"outcome": lambda r: words[(int(r["stay_id"]) % 4 == 0) * (1 + r["stay_id"] % 8 // 4)]}
    with caplog.at_level(logging.INFO):
        config = propose(tmp_path, write(tmp_path / "x.csv", *changed(**rule)))
    assert [name.lower() for name in config.data.table.classes] == ["survived", "died"]
    assert "is 'D" in caplog.text or "is 'd" in caplog.text
    require_true(config)


def test_static_covariates_that_say_nothing_are_left_out(tmp_path, caplog):
    """One sex only has no code; seventy names of wards are no categories; "> 89" is an age."""
    rules = {
        "sex": lambda r: "F",
        "age": lambda r: "> 89" if r["stay_id"] % 5 == 0 else r["age"],
        "ethnicity": lambda r: f"group {r['stay_id']}",
        "lactate": lambda r: r["lactate"] if r["hour"] == 0 else "",  # gaps: masks are generated
    }
    header, rows = changed(**rules)
    header = [*header, "ethnicity"]
    rows = [[*row, f"group {row[0]}"] for row in rows]
    with caplog.at_level(logging.INFO):
        config = propose(tmp_path, write(tmp_path / "x.csv", header, rows))
    assert config.data.table.static == ["age", "sex"] and config.data.space.static == ["age"]
    assert "`ethnicity` has 80 different texts, so it is left out" in caplog.text
    _, _, splits = built(config)
    assert max(s.static[:, 0].max() for s in splits) == 89


def test_what_stage_1_would_refuse_is_refused_here(tmp_path):
    """And a column that never changes is left out unless it is asked for."""
    path = write(tmp_path / "x.csv", *changed(lactate=lambda r: 2 if r["hour"] else ""))
    with pytest.raises(DataError, match="channel lactate: only 2 in the train split"):
        propose(tmp_path, path, 'data.table.channels=["heart_rate[bpm]",lactate]')
    assert not (tmp_path / "mine.yaml").exists()
    assert propose(tmp_path, path).data.table.channels == ["heart_rate[bpm]"]


def test_a_variable_without_a_value_is_no_channel(tmp_path):
    header = ["stay_id", "hour", "variable", "value", "outcome"]
    rows = [
        [STAYS[i], t, name, text, ("survived", "died")[int(DIED[i])]]
        for i in range(N)
        for t in range(HOURS)
        for name, text in (*zip(CHANNELS, texts(VALUES[i, :, t]), strict=True), ("etco2", ""))
    ]
    config = propose(tmp_path, write(tmp_path / "x.csv", header, rows))
    assert config.data.table.channels == list(CHANNELS)
    require_true(config)


def test_a_number_of_the_row_is_no_id(tmp_path):
    header, rows = changed(stay_id=None)
    rows = [[number, *row] for number, row in enumerate(rows)]
    series = [[row[0], 5000 + k // HOURS, *row[2:]] for k, row in enumerate(rows)]
    path = write(tmp_path / "x.csv", ["id", *header], series)
    assert propose(tmp_path, path).data.table.id == "patient_id"


def test_a_file_of_any_name_is_an_experiment(tmp_path, monkeypatch):
    path = write(tmp_path / "vitals (1).csv", *wide())
    monkeypatch.chdir(tmp_path)
    main([str(path)])
    assert load_config([str(tmp_path / "vitals_1.yaml")]).experiment == "vitals_1"


def test_times_that_begin_late_are_told(tmp_path, caplog):
    path = write(tmp_path / "x.csv", *changed(hour=lambda r: 10 + r["hour"]))
    with caplog.at_level(logging.INFO):
        config = propose(tmp_path, path)
    assert "begin at 10 (median) and are counted from 0, so the window begins with" in caplog.text
    assert config.data.window_hours == 10 + HOURS


def test_a_grid_of_too_many_points_is_cut(tmp_path, caplog):
    """Daily values of more than a year, and nothing coarser than a day is proposed."""
    rows = [[i, t, 60 + t % 7 + i, i % 2] for i in range(N) for t in range(0, 400)]
    path = write(tmp_path / "x.csv", ["id", "days", "hr", "died"], rows)
    with caplog.at_level(logging.INFO):
        config = propose(tmp_path, path)
    assert (config.data.window_hours, config.data.step_minutes) == (288 * 24, 1440)
    assert "series go on after the first 288 steps" in caplog.text
    assert "a code for missing" not in caplog.text  # the lowest rate stands many times, and near


def test_a_column_called_label_with_gaps_has_no_class_of_them(tmp_path, caplog):
    """In SQL the name of a column wins over an alias."""
    words = {5003: "NA"}
    path = write(
        tmp_path / "x.csv",
        *changed(outcome=lambda r: words.get(r["stay_id"], r["outcome"])),
    )
    path.write_text(path.read_text().replace(",outcome", ",label", 1))
    with caplog.at_level(logging.INFO):
        config = propose(tmp_path, path, "data.table.drop_unreadable=true")
    assert config.data.table.classes == ["survived", "died"]
    assert "positive is died, by its name" in caplog.text


def test_survival_as_a_number_is_asked_about(tmp_path, caplog):
    path = write(tmp_path / "x.csv", *wide(label="survived", words=("1", "0")))
    with caplog.at_level(logging.INFO):
        propose(tmp_path, path)
    assert "`survived` 1 is the class to be predicted" in caplog.text
    assert "data.table.classes=[1,0]" in caplog.text


@pytest.mark.parametrize(("label", "names"), [("died", "not_died,died"), ("in 28 d", "no,yes")])
def test_names_of_the_numbers_0_and_1_are_suggested(tmp_path, caplog, label, names):
    path = write(tmp_path / "x.csv", *wide(label=label, words=("0", "1")))
    with caplog.at_level(logging.INFO):
        propose(tmp_path, path, f"data.table.label={label}")
        assert f"data.table.classes=[{names}] names them" in caplog.text
        caplog.clear()
        (again := tmp_path / "again").mkdir()
        given = f"data.table.label={label}", f"data.table.classes=[{names}]"
        config = propose(again, path, *given)
    assert config.data.table.classes == names.split(",")
    assert "data.table.classes=" not in caplog.text


def test_classes_on_the_command_line_are_words(tmp_path):
    """YAML would read yes and no as true and false."""
    path = write(tmp_path / "x.csv", *wide(words=("no", "yes")))
    config = propose(tmp_path, path, "data.table.classes=[yes,no]")
    assert config.data.table.classes == ["yes", "no"]


def test_columns_without_change_are_no_channels_where_labels_stand_apart(tmp_path):
    """An id, an outcome; a value measured once in a series stays."""
    header, rows = changed(ward=lambda r: 7, age=lambda r: r["age"] if r["hour"] == 2 else "")
    series = write(tmp_path / "x.csv", header[:-1], [row[:-1] for row in rows])
    own = [[stay, int(died)] for stay, died in zip(STAYS, DIED, strict=True)]
    labels = write(tmp_path / "y.csv", ["stay_id", "died"], own)
    config = propose(tmp_path, series, labels)
    assert config.data.table.channels == [*CHANNELS, "age"]
    # The labels do not name the patient, so that of the series is taken.
    assert config.data.table.subject == "patient_id"
    _, _, splits = built(config)
    assert sum(len(set(s.subject_ids.tolist())) for s in splits) == N // 2


def test_decimal_commas_of_the_labels_alone(tmp_path):
    header, rows = changed(**{name: lambda r: r["hour"] + r["stay_id"] % 77 for name in CHANNELS})
    places = [header.index(name) for name in ("stay_id", "hour", *CHANNELS)]
    series = [[row[k] for k in places] for row in rows]
    path = write(tmp_path / "x.csv", [header[k] for k in places], series, delimiter=";")
    own = [[stay, f"{40 + k % 30},5", int(DIED[k])] for k, stay in enumerate(STAYS)]
    labels = write(tmp_path / "y.csv", ["stay_id", "age", "died"], own, delimiter=";")
    config = propose(tmp_path, path, labels)
    assert config.data.table.decimal == "," and config.data.table.static == ["age"]
    _, _, splits = built(config)
    assert set(splits[0].static[:, 0]) <= {40.5 + k for k in range(30)}


def test_a_code_for_missing_is_asked_about(tmp_path, caplog):
    rule = {"lactate": lambda r: -999 if r["stay_id"] % 10 == 0 else r["lactate"]}
    with caplog.at_level(logging.INFO):
        propose(tmp_path, write(tmp_path / "x.csv", *changed(**rule)))
    assert "values of `lactate` are -999, most others" in caplog.text
    assert "values of `heart_rate" not in caplog.text
    assert "lactate -999 to" in caplog.text  # the ranges


def test_unreadable_cells_are_for_the_user_to_decide(tmp_path, caplog):
    """The config is written and told apart; stage 1 refuses until the user has said so."""

    def rule(row):
        odd = {(5003, 0): "ERR", (5004, 0): "<5", (5007, 2): "> 20"}
        return odd.get((row["stay_id"], row["hour"]), row["lactate"])

    path = write(tmp_path / "x.csv", *changed(lactate=rule))
    with caplog.at_level(logging.INFO):
        config = propose(tmp_path, path)
    assert "3 cells of `lactate` are no numbers, first '" in caplog.text
    assert config.data.table.drop_unreadable is False
    limits = r"cells of a limit such as <5 \(write the limit, 5, into the file to keep them\): 2"
    with pytest.raises(DataError, match=f"cannot be read as numbers.*{limits}.*drop_unreadable"):
        ensure_built(config.data)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        config = load_config([str(tmp_path / "mine.yaml"), f"{DROP}=true"])
        ensure_built(config.data)
    card = (Path(config.data.dir) / "card.md").read_text()
    assert "lactate: cells that cannot be read, left out: 3" in card
    assert re.search(limits, card)


def test_nothing_is_overwritten_and_files_are_named(tmp_path):
    path = write(tmp_path / "x.csv", *wide())
    (tmp_path / "mine.yaml").write_text("experiment: precious\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml is there already"):
        propose(tmp_path, path)
    assert (tmp_path / "mine.yaml").read_text() == "experiment: precious\n"
    with pytest.raises(MissingInputError, match=r"nosuch\.csv does not exist"):
        main([str(tmp_path / "nosuch.csv")])
    with pytest.raises(ConfigError, match="0 files given; expected a table"):
        main([])
    with pytest.raises(ConfigError, match="unknown key"):
        main([str(path), f"out={tmp_path / 'new.yaml'}", "data.table.labelcolumn=x"])
