"""Kind A and B: what a table's file, times, ids, labels and cells may look like."""

import base64
import gzip
import string
import struct

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.runtime.errors import DataError
from data_preprocess.storage.arrow_durations import durations_of
from data_preprocess.storage.duckdb_engine import open_engine
from data_preprocess.storage.table_file import open_table, require_all_rows
from tests.support.small_tables import (
    COUNT,
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
PRINTABLE = st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs", "Cc"])
NAMES = st.text(PRINTABLE | st.sampled_from("[]?*{}'\"=#\\"), min_size=1, max_size=12).filter(
    lambda name: name.strip(". ") and len(name.encode()) < 80
)


# A name that is a pattern, and another name that it would match.
PATTERNS = st.tuples(
    st.text(string.ascii_letters, max_size=3),
    st.sampled_from([("[ab]", "a"), ("?", "z"), ("*", ""), ("[!x]", "q"), ("**", "m")]),
    st.text(string.ascii_letters, min_size=1, max_size=3),
)


@some
@given(
    folder=NAMES,
    stem=NAMES,
    pattern=PATTERNS,
    suffix=st.sampled_from([".csv", ".parquet"]),
)
def test_any_name_of_a_file_or_folder_means_nothing(
    tmp_path_factory, folder, stem, pattern, suffix
):
    root = tmp_path_factory.mktemp("names")
    begin, (wild, match), end = pattern
    other = store(root / folder / f"{stem}{begin}{match}{end}{suffix}", long(value=-1.0))
    x = store(root / folder / f"{stem}{begin}{wild}{end}{suffix}", long())
    y = store(root / "y" / "y.csv", labels())
    assert other.is_file()
    if "\\" in str(x):
        with pytest.raises(DataError, match="rename"):
            read_files(x, y)
    else:
        require_truth(read_files(x, y))


@pytest.mark.parametrize("name", ["\\x", "x\\", "a\\b"])
def test_a_backslash_alone_is_a_letter(tmp_path, name):
    x = store(tmp_path / f"{name}.csv", long())
    require_truth(read_files(x, store(tmp_path / "y" / "y.csv", labels())))


@pytest.mark.parametrize("folder", ["time=24", "label=1", "id=0", "value=3", "patient=all"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_folders_named_like_columns_are_no_columns(tmp_path, folder, suffix):
    x = store(tmp_path / folder / f"x{suffix}", long())
    y = store(tmp_path / folder / f"y{suffix}", labels())
    cohort = read_files(x, y, subject="patient")
    require_truth(cohort)
    assert len(set(cohort.subject_ids)) == COUNT // 2


def test_all_members_of_a_gzip_file_are_read(tmp_path):
    lines = long().to_csv(index=False).encode().splitlines(keepends=True)
    y = store(tmp_path / "t" / "y.csv", labels())
    x = tmp_path / "x.csv.gz"
    parts = (lines[:20], lines[20:50], lines[50:], [])
    x.write_bytes(b"".join(gzip.compress(b"".join(part)) for part in parts))
    require_truth(read_files(x, y))
    x.write_bytes(gzip.compress(b"".join(lines)) + b"\0" * 512)
    with pytest.raises(DataError, match="GZIP"):
        read_files(x, y)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda text: text.encode("utf-16"), "UTF-16"),
        (lambda text: b"PK\x03\x04" + text.encode(), "zip archive"),
        (lambda text: b"", "empty"),
        (lambda text: text.replace("value", "time", 1).encode(), "'time' stands twice"),
        (lambda text: text.replace("hr", "p\xe9", 1).encode("latin-1"), "utf-8"),
        (lambda text: text.replace("\n", '\n"', 1).encode(), "quote"),
    ],
)
def test_files_that_are_no_plain_table_are_refused(tmp_path, content, message):
    x = tmp_path / "x.csv"
    x.write_bytes(content(long().to_csv(index=False)))
    with pytest.raises(DataError, match=message):
        read_files(x, store(tmp_path / "t" / "y.csv", labels()))


@some
@given(
    st.lists(
        st.tuples(*[st.text(string.ascii_letters + " #,;'|\"\n\t\\éß", max_size=6)] * 2),
        max_size=12,
    )
)
def test_every_row_of_a_csv_counts_whatever_its_cells_hold(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "t.csv"
    pd.DataFrame(rows, columns=["a", "b"]).to_csv(path, index=False, quoting=1)
    table = open_table(path, key="k")
    with open_engine(memory_limit="500MB", threads=1) as engine:
        require_all_rows(engine, table)
        found = engine.rows(f"SELECT coalesce(a, ''), coalesce(b, '') FROM {table.scan}")
    assert sorted(found) == sorted(rows)


STEPS = pd.to_timedelta(long().time, unit="min")
ZONES = ["+00:00", "Z", "-05:00", "+0530", " UTC"]


def in_zone(zone: str) -> pd.Series:
    offset = {"-05:00": -5.0, "+0530": 5.5}.get(zone, 0.0)
    local = FIRST + STEPS + pd.Timedelta(hours=offset)
    return local.dt.strftime("%Y-%m-%dT%H:%M:%S") + zone


TIMES = {
    "minutes": long().time,
    "stamps": FIRST + STEPS,
    "stamps as text": (FIRST + STEPS).dt.strftime("%Y-%m-%d %H:%M"),
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


def flat_table(raw: bytearray, count: int, *present: int) -> dict[int, int]:
    """Appends a flatbuffer table of `count` fields; where the `present` ones stand."""
    slots = {index: 4 + 4 * k for k, index in enumerate(present)}
    start = len(raw)
    raw += struct.pack("<HH", 4 + 2 * count, 4 + 4 * len(present))
    raw += b"".join(struct.pack("<H", slots.get(index, 0)) for index in range(count))
    raw += b"\0" * (-len(raw) % 4)
    table = len(raw)
    raw += struct.pack("<i", table - start) + b"\0" * 4 * len(present)
    return {index: table + slot for index, slot in slots.items()} | {-1: table}


def point(raw: bytearray, place: int, target: int) -> None:
    struct.pack_into("<I", raw, place, target - place)


def arrow_schema(units: dict[str, int | None]) -> bytes:
    """An Arrow schema message of durations (0 s, 1 ms, 2 us, 3 ns) and other columns (None)."""
    raw = bytearray(4)
    message = flat_table(raw, 4, 2)
    point(raw, 0, message[-1])
    schema = flat_table(raw, 4, 1)
    point(raw, message[2], schema[-1])
    point(raw, schema[1], len(raw))
    vector = len(raw) + 4
    raw += struct.pack("<I", len(units)) + b"\0" * 4 * len(units)
    for k, (name, unit) in enumerate(units.items()):
        column = flat_table(raw, 6, 0, 2, 3)
        point(raw, vector + 4 * k, column[-1])
        struct.pack_into("<B", raw, column[2], 3 if unit is None else 18)
        kind = flat_table(raw, 1, *([] if unit in (None, 1) else [0]))  # 1 is the default
        if 0 in kind:
            struct.pack_into("<h", raw, kind[0], unit)
        point(raw, column[3], kind[-1])
        point(raw, column[0], len(raw))
        raw += struct.pack("<I", len(name)) + name.encode()
        raw += b"\0" * (-len(raw) % 4)
    return b"\xff\xff\xff\xff" + struct.pack("<I", len(raw)) + bytes(raw)


@pytest.mark.parametrize(("unit", "per_minute"), [(0, 60), (1, 60e3), (2, 60e6), (3, 60e9)])
def test_a_parquet_duration_has_its_own_unit(tmp_path, unit, per_minute):
    table = long(time=(long().time * per_minute).astype("int64"))
    schema = arrow_schema({"id": None, "time": unit, "variable": None, "value": None})
    assert durations_of(schema) == {"time": pytest.approx(1 / per_minute)}
    x = tmp_path / "x.parquet"
    with duckdb.connect() as connection:
        connection.register("frame", table)
        text = base64.b64encode(schema).decode()
        connection.execute(
            f"COPY frame TO '{x}' (FORMAT parquet, KV_METADATA {{'ARROW:schema': '{text}'}})"
        )
    require_truth(read_files(x, store(tmp_path / "t" / "y.csv", labels())))


@given(st.binary(max_size=200))
def test_any_bytes_in_place_of_a_schema_are_no_traceback(raw):
    try:
        durations_of(raw)
    except (struct.error, ValueError, IndexError):
        pass


@some
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
        ((FIRST + STEPS).dt.strftime("%d.%m.%Y %H:%M"), "cannot be read as numbers or times"),
        (long().time.astype(str).where(long().index > 2, "soon"), "time 3, first 'soon'"),
        (in_zone("Z").where(long().index > 2, "2021-03-14 02:00"), "have a zone and 3 have none"),
    ],
)
def test_times_in_another_unit_or_form_are_refused(tmp_path, times, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, long(time=times), labels())


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


WAYS = {"7": str, "7.0": "{}.0".format, "007": "{:03d}".format, " 7 ": " {} ".format}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("other", WAYS)
def test_ids_match_however_they_are_written(tmp_path, way, other):
    series, outcome = (
        table.assign(id=table.id.map(WAYS[how]))
        for table, how in ((long(), way), (labels(), other))
    )
    require_truth(read(tmp_path, series, outcome))
    mixed = labels(patient=[WAYS[way](i // 2) if i % 2 else WAYS[other](i // 2) for i in range(6)])
    assert len(set(read(tmp_path, long(), mixed, subject="patient").subject_ids)) == 3


def test_large_ids_stay_apart(tmp_path):
    big = 2**53 + 1
    require_truth(read(tmp_path, long(id=long().id + big), labels(id=labels().id + big)))


def test_ids_on_one_side_only_are_counted(tmp_path):
    cohort = read(tmp_path, long()[long().id != 2], labels()[labels().id != 4])
    assert len(cohort) == 4
    assert ("no value in the series table", 1) in [(s.rule, s.removed) for s in cohort.flow]
    assert "ids of the series without a label, not read: 1" in cohort.notes
    with pytest.raises(DataError, match=r"no id of the labels is in the series \(labels: A0"):
        read(tmp_path, long(), labels(id=[f"A{i}" for i in range(6)]))
    with pytest.raises(DataError, match="the ids 02? and 02? are the same number|same number"):
        read(tmp_path, long(), labels(id=["0", "1", "2", "02", "4", "5"], label=[0, 1, 0, 0, 1, 1]))


# Written out on purpose, not read from the list of the code.
WORDS = ["na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "nil", "missing", "-", ".", "?"]
SPELLINGS = st.sampled_from(WORDS).flatmap(
    lambda word: st.sampled_from([word, word.upper(), word.capitalize(), f" {word} "])
)


@settings(some, max_examples=50)
@given(word=SPELLINGS | st.just(""))
def test_missing_is_no_class_no_patient_and_no_number(tmp_path_factory, word):
    root = tmp_path_factory.mktemp("t")
    outcome = labels(label=["yes", "no", word, "no", "yes", "no"])
    with pytest.raises(DataError, match=r"1 rows have an empty .* id, label: id 2; complete"):
        read(root, long(), outcome)
    cohort = read(root, long(), outcome, drop_unreadable=True)
    assert cohort.label_names == ("no", "yes") and len(cohort) == 5
    unknown = labels(patient=["a", "a", word, word, "b", "b"])
    cohort = read(root, long(), unknown, subject="patient")
    assert len(set(cohort.subject_ids)) == 4
    gaps = long().astype({"value": object})
    gaps.loc[0, "value"] = word
    assert np.isnan(read(root, gaps, labels()).values).sum() == 1


@some
@given(st.lists(st.sampled_from(["Yes", "yes", "YES ", "yEs"]), min_size=3, max_size=3))
def test_spellings_of_one_class_are_one_class(tmp_path_factory, words):
    outcome = labels(label=[words[0], "no", words[1], "No", words[2], "no"])
    cohort = read(tmp_path_factory.mktemp("t"), long(), outcome)
    assert [name.casefold() for name in cohort.label_names] == ["no", "yes"]
    assert cohort.labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert any("taken as one class: No, no" in note for note in cohort.notes)


def test_classes_are_whole_numbers_or_words_in_the_order_asked_for(tmp_path):
    words = ["survived", "died"] * 3
    ordered = read(tmp_path, long(), labels(label=words), classes=["survived", "died"])
    assert ordered.label_names == ("survived", "died")
    assert ordered.labels.tolist() == [0, 1] * 3
    assert read(tmp_path, long(), labels(label=[1.0, 0.0] * 3)).label_names == ("0", "1")
    for wrong in (["1", "died"] * 3, [0.3, 0.7] * 3):
        with pytest.raises(DataError, match="expected classes"):
            read(tmp_path, long(), labels(label=wrong))
    with pytest.raises(DataError, match=r"data\.table\.classes"):
        read(tmp_path, long(), labels(label=words), classes=["alive", "died"])


@pytest.mark.parametrize("cell", [">100", "ERR", "82,5", "1_000", "0x10", "inf", "1e400"])
def test_unreadable_cells_are_counted_per_column(tmp_path, cell):
    table = long().astype({"value": object})
    table.loc[table.index[table.variable == "hr"][[1, 7]], "value"] = cell
    with pytest.raises(DataError, match=r"x\.csv: cells .* hr 2, first .*drop_unreadable=true"):
        read(tmp_path, table, labels())
    cohort = read(tmp_path, table, labels(), drop_unreadable=True)
    assert np.isnan(cohort.values).sum() == 2
    assert "hr: cells that cannot be read, left out: 2" in cohort.notes


def test_semicolons_and_decimal_commas(tmp_path):
    x = tmp_path / "x.csv"
    long().to_csv(x, index=False, sep=";", decimal=",")
    y = store(tmp_path / "t" / "y.csv", labels())
    with pytest.raises(DataError, match=r"decimal comma\? Set data\.table\.decimal"):
        read_files(x, y)
    require_truth(read_files(x, y, decimal=","))


def test_a_wide_table_with_sex_names_the_keys_and_static_covariates_are_read(tmp_path):
    wide = long().pivot(index=["id", "time"], columns="variable", values="value").reset_index()
    wide["sex"] = np.where(wide.id % 2, "F", "M")
    with pytest.raises(DataError, match=r"sex 36.*data\.table\.channels.*data\.table\.static"):
        read(tmp_path, wide, labels(), layout="wide")
    outcome = labels(sex=["M", "female", "m", "", "F", "M"], age=[50, 60, 70, "NA", 80, 90])
    outcome["unit"] = ["medical", "surgical"] * 3
    cohort = read(tmp_path, long(), outcome, static=["sex", "age", "unit"])
    assert cohort.static_names == ("sex[1=male]", "age", "unit[0=medical,1=surgical]")
    np.testing.assert_array_equal(cohort.static[:, 0], [1, 0, 1, np.nan, 0, 1])
    np.testing.assert_array_equal(cohort.static[:, 1], [50, 60, 70, np.nan, 80, 90])


def test_implausible_values_are_missing_and_counted(tmp_path):
    cohort = read(tmp_path, long(), labels(), ranges={"hr": [61.0, 64.5]})
    assert (cohort.values[:, 0][~np.isnan(cohort.values[:, 0])] >= 61).all()
    assert "values outside data.table.ranges, set to missing: 12" in cohort.notes


def test_a_channel_without_a_value_is_named_with_what_there_is(tmp_path):
    with pytest.raises(DataError, match="no value of HR; the table has hr, sbp"):
        read(tmp_path, long(), labels(), channels=["HR", "sbp"])


def test_differences_that_single_precision_loses_are_refused(tmp_path):
    with pytest.raises(DataError, match="single precision cannot hold"):
        read(tmp_path, long(value=long().value / 10 + 1e8), labels())
