"""Kind A: times of a table in every type, unit and zone, and moments that may not be used."""

import base64
import io

import duckdb
import nanoarrow as na
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from nanoarrow.ipc import StreamWriter

from configs.runtime.errors import DataError
from data_preprocess.storage.parquet_times import duration_units
from data_preprocess.storage.table_file import open_table
from tests.support.small_tables import (
    FIRST,
    HOURS,
    labels,
    long,
    read,
    read_files,
    require_truth,
    store,
)

some = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
STEPS = pd.to_timedelta(long().time, unit="min")
ZONES = ["+00:00", "Z", "-05:00", "+0530", " UTC", " -05:00", " Z", "GMT"]


def in_zone(zone: str) -> pd.Series:
    offset = {"-05:00": -5.0, "+0530": 5.5}.get(zone.strip(), 0.0)
    local = FIRST + STEPS + pd.Timedelta(hours=offset)
    return local.dt.strftime("%Y-%m-%dT%H:%M:%S") + zone


TIMES = {
    "minutes": long().time,
    "stamps": FIRST + STEPS,
    "stamps as text": (FIRST + STEPS).dt.strftime("%Y-%m-%d %H:%M"),
    "slashes": (FIRST + STEPS).dt.strftime("%Y/%m/%d %H:%M"),
    "slashes and a zone": (FIRST + STEPS).dt.strftime("%Y/%m/%d %H:%M:%SZ"),
    "UTC stamps": (FIRST + STEPS).dt.tz_localize("UTC"),
    "durations as text": STEPS.astype(str),
    "clock": [f"{m // 60}:{m % 60:02d}:00" for m in long().time],
    **{f"zone {zone}": in_zone(zone) for zone in ZONES},
}


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("computer", ["UTC", "America/New_York"])
def test_times_of_every_type_land_on_their_step(tmp_path, monkeypatch, kind, suffix, computer):
    monkeypatch.setenv("TZ", computer)
    x = store(tmp_path / "t" / f"x{suffix}", long(time=TIMES[kind]))
    require_truth(read_files(x, store(tmp_path / "t" / "y.csv", labels())))


def arrow_schema(unit: str) -> bytes:
    """An Arrow schema message, in base64, whose column `time` is a duration."""
    columns = {"id": na.int64(), "time": na.duration(unit), "variable": na.string()}
    empty = na.c_array_from_buffers(
        na.struct(columns), 0, [None], children=[na.c_array([], kind) for kind in columns.values()]
    )
    message = io.BytesIO()
    with StreamWriter.from_writable(message) as writer:
        writer.write_array(empty)
    return base64.b64encode(message.getvalue())


@pytest.mark.parametrize(
    ("unit", "per_minute"), [("s", 60), ("ms", 60e3), ("us", 60e6), ("ns", 60e9)]
)
def test_a_parquet_duration_has_its_own_unit(tmp_path, unit, per_minute):
    table = long(time=(long().time * per_minute).astype("int64"))
    schema = arrow_schema(unit)
    assert duration_units(schema) == {"time": pytest.approx(1 / per_minute)}
    x = tmp_path / "x.parquet"
    with duckdb.connect() as connection:
        connection.register("frame", table)
        text = schema.decode()
        connection.execute(
            f"COPY frame TO '{x}' (FORMAT parquet, KV_METADATA {{'ARROW:schema': '{text}'}})"
        )
    require_truth(read_files(x, store(tmp_path / "t" / "y.csv", labels())))


def test_files_of_a_folder_have_times_of_one_kind(tmp_path):
    """The unit of the first was taken for that of all, and a stamp without a zone for UTC."""
    zone = "TIMESTAMPTZ '2021-03-14 02:00:00Z' AS time"
    of_unit = {unit: arrow_schema(unit).decode() for unit in ("ms", "ns")}
    kinds = {
        "zones": {zone: "", "TIMESTAMP '2021-03-14 02:00' AS \"Time\"": ""},
        "units": {"60000 AS time": of_unit["ms"], "60000000000 AS time": of_unit["ns"]},
        "numbers": {"60000 AS time": of_unit["ms"], "1 AS time": ""},
    }
    for name, times in kinds.items():
        (tmp_path / name).mkdir()
        for k, (time, text) in enumerate(times.items()):
            path = tmp_path / name / f"{k}.parquet"
            duckdb.sql(
                f"COPY (SELECT 1 AS id, {time}, {{'time': TIMESTAMP '2021-03-14 02:00'}} AS meta) "
                f"TO '{path}' (FORMAT parquet, KV_METADATA {{'ARROW:schema': '{text}'}})"
            )
            open_table(path, key="data.table.series")  # a field of `meta` is no column
        with pytest.raises(DataError, match="times in time differ in unit or time zone"):
            open_table(tmp_path / name, key="data.table.series")


@given(st.binary(max_size=200))
def test_any_bytes_in_place_of_a_schema_are_no_traceback(raw):
    assert duration_units(base64.b64encode(raw)) == duration_units(raw) == {}


@some
@example(step=1e-7, shift=0.5)
@given(step=st.floats(1e-7, 1e5), shift=st.sampled_from([0.0, 0.5]))
def test_small_and_large_numbers_are_minutes(tmp_path_factory, step, shift):
    table = long(time=(long().time / 60 + shift) * step)
    root = tmp_path_factory.mktemp("t")
    cohort = read(root, table, labels(), window_hours=HOURS * step / 60, step_minutes=step)
    require_truth(cohort)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (long().time / 60, "5 of 6 steps are empty.*taken as minutes"),
        (long().time * 60, "lie outside the window of 6 h.*taken as minutes"),
        ((FIRST + STEPS).dt.strftime("%d.%m.%Y %H:%M"), "'14.03.2021 02:00'.*format='%d.%m"),
        ((FIRST + STEPS).dt.strftime("%m/%d/%y %I:%M %p"), r"such as '03/14/21.*format='%d.%m"),
        (long().time.map("{},5".format), r"'0,5'.*Set data.table.decimal=','"),
        ((FIRST + STEPS).astype(str).where(long().index > 2, "14.03.2021 02:00"), "as pandas.to_d"),
        (long().time.astype(str).where(long().index > 2, "soon"), "time 3, first 'soon'"),
        (["2021-03-14Z"] * 72, r"the times in `time` cannot be read \(such as '2021-03-14Z'\)"),
        (in_zone("Z").where(long().index > 2, "2021-03-14 02:00"), "have a zone and 3 have none"),
    ],
)
def test_times_in_another_unit_or_form_are_refused(tmp_path, times, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, long(time=times), labels())


def test_an_admission_in_another_form_is_refused(tmp_path):
    """It was said to hold numbers, or every row to be unreadable."""
    outcome = labels().assign(admitted=FIRST.strftime("%d.%m.%Y"))
    with pytest.raises(DataError, match="the times in `admitted` cannot be read .*'14.03.2021'"):
        read(tmp_path, long(time=FIRST + STEPS), outcome, start="admitted")


def test_an_admission_may_have_slashes(tmp_path):
    outcome = labels().assign(admitted=FIRST.strftime("%Y/%m/%d %H:%M"))
    require_truth(read(tmp_path, long(time=FIRST + STEPS), outcome, start="admitted"))


def test_the_unit_can_be_said_and_a_long_stay_be_allowed(tmp_path):
    require_truth(read(tmp_path, long(time=long().time / 60), labels(), time_unit="hours"))
    late = long(time=long().time + np.where(long().time > 60, 10_000, 0))
    cohort = read(tmp_path, late, labels(), drop_outside=True)
    assert cohort.notes[0] == "values outside the window, not used: 48"


@pytest.mark.parametrize("days", [-365, 365])
def test_a_row_dated_a_year_off_moves_nothing(tmp_path, days):
    stamps = pd.Series(FIRST + STEPS)
    stamps[5] += pd.Timedelta(days=days)
    cohort = read(tmp_path, long(time=stamps), labels())
    truth = read(tmp_path, long(time=(FIRST + STEPS)).drop(index=5), labels())
    np.testing.assert_array_equal(cohort.values, truth.values)
    assert cohort.notes[0].endswith(": 1")
    assert any("dated long before" in note for note in cohort.notes) == (days < 0)


def test_time_zero_and_the_end_can_be_columns(tmp_path):
    stamped = long(time=FIRST + STEPS)
    outcome = labels(admitted=FIRST - pd.Timedelta(hours=1))
    cohort = read(tmp_path, stamped, outcome, start="admitted", window_hours=7.0)
    assert np.isnan(cohort.values[:, :, 0]).all()
    np.testing.assert_allclose(
        cohort.values[:, 0, 1:], read(tmp_path, long(), labels()).values[:, 0]
    )
    ended = read(tmp_path, stamped, labels(asked=FIRST + pd.Timedelta(hours=3)), end="asked")
    assert np.isnan(ended.values[:, :, :2]).all()
    np.testing.assert_allclose(ended.values[0, 0, 2:], 60 + np.arange(4) / 100, rtol=1e-6)
    both = labels(admitted=FIRST, asked=FIRST + pd.Timedelta(hours=3))
    bounded = read(tmp_path, stamped, both, start="admitted", end="asked")
    assert np.isnan(bounded.values[:, :, 4:]).all() and not np.isnan(bounded.values[:, :, :4]).any()
    assert bounded.notes[0] == "values outside the window, not used: 24"
    with pytest.raises(DataError, match="admitted holds time stamps, but .* numbers"):
        read(tmp_path, long(), outcome, start="admitted")


def test_meds_uses_nothing_after_the_prediction(tmp_path):
    names = {"id": "subject_id", "variable": "code", "value": "numeric_value"}
    table = long(time=FIRST + STEPS).rename(columns=names)
    first = table[table.time == FIRST]
    visit = first.assign(time=FIRST - pd.Timedelta(days=730), numeric_value=999)
    leak = first.assign(time=FIRST + pd.Timedelta(hours=HOURS - 0.5), numeric_value=5)
    outcome = labels().rename(columns={"id": "subject_id", "label": "boolean_value"})
    outcome["prediction_time"] = FIRST + pd.Timedelta(hours=HOURS - 1)
    y = store(tmp_path / "t" / "y.parquet", outcome)
    half = len(table) // 2
    store(tmp_path / "MEDS" / "data" / "0.parquet", pd.concat([table[:half], visit]))
    store(tmp_path / "MEDS" / "data" / "1.parquet", pd.concat([table[half:], leak]))
    cohort = read_files(tmp_path / "MEDS", y, layout="meds", label="boolean_value")
    require_truth(cohort)
    assert cohort.notes[0] == "values outside the window, not used: 24"
