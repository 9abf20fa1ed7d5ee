"""Kind A and B: what a table's file, times, ids, labels and cells may look like."""

import gzip
import string

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.runtime.errors import DataError
from data_preprocess.storage.duckdb_engine import open_engine
from data_preprocess.storage.table_file import open_table, require_all_rows
from tests.support.small_tables import (
    COUNT,
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
        (lambda text: text.replace("hr", "p\xe9", 1).encode("latin-1"), "save it as UTF-8"),
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


HEADERS = {
    'id;"HR\n(bpm)";t': ("id", "HR (bpm)", "t"),
    'id;"HR\r\n(bpm)";t': ("id", "HR (bpm)", "t"),
    '"HR, RR\n(1/min)";id': ("HR, RR (1/min)", "id"),
    '"a ""b""";c': ('a "b"', "c"),
    'id;5" nail;c': ("id", '5" nail', "c"),
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quoted_name_may_hold_a_line_break(tmp_path, header, end):
    """As Excel writes a cell of two lines."""
    names = HEADERS[header]
    rows = [tuple(f"{k}{j}" for j in range(len(names))) for k in range(3)]
    text = end.join([header, *map(";".join, rows), '"\n"' + ";" * (len(names) - 1)]) + end
    (tmp_path / "x.csv").write_bytes(text.encode())
    table = open_table(tmp_path / "x.csv", key="k")
    assert table.columns == names
    with open_engine(memory_limit="500MB", threads=1) as engine:
        require_all_rows(engine, table)
        assert engine.rows(f"FROM {table.scan}")[:3] == rows


def test_the_note_for_excel_is_to_be_deleted(tmp_path):
    (tmp_path / "x.csv").write_text("sep=;\nid;time\n1;2\n")
    with pytest.raises(DataError, match="x.csv: the first line is for .*; delete the line sep=;"):
        open_table(tmp_path / "x.csv", key="k")


def test_the_kind_of_a_file_may_be_in_capitals(tmp_path):
    (tmp_path / "X.CSV.GZ").write_bytes(gzip.compress(b"a\n1\n"))
    duckdb.execute(f"COPY (SELECT 1 AS a) TO '{tmp_path}/X.PARQUET' (FORMAT parquet)")
    for path in (tmp_path / "X.CSV.GZ", tmp_path / "X.PARQUET", tmp_path):
        assert open_table(path, key="k").columns == ("a",)


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


@pytest.mark.parametrize("cell", [">100", "ERR", "82,5", "1_000", "0x10", "inf", "1e400", "True"])
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
