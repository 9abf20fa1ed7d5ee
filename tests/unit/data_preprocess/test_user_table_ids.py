"""Ids of stays and patients in a user's tables: kept apart, or refused where they cannot be."""

import numpy as np
import pytest

from configs.runtime.errors import DataError
from tests.support.long_table import EXPECTED, LABELS, LONG, read, stored


@pytest.mark.parametrize("rounded", ["x", "y"])
@pytest.mark.parametrize("kind", ["csv", "parquet", "float32", "excel", "deutsch"])
def test_ids_that_floating_point_has_rounded_are_refused(tmp_path, kind, rounded):
    """Two stays become one in silence; up to where numbers are exact they are read."""
    excel = kind in ("excel", "deutsch")
    suffix = "csv" if kind == "csv" or excel else "parquet"
    limit = 2**24 if kind == "float32" else 2**53
    wide = np.float32 if kind == "float32" else np.float64
    names = {"a": 0, "b": 1, "c": 2}
    for first, refused in ((limit - 3, excel), (limit, True)):
        given = {}
        for name, frame in (("x", LONG), ("y", LABELS)):
            ids = frame.id.map(names) + first
            if name == rounded:
                ids = ids.map("{:.5E}".format) if excel else ids.astype(wide)
                ids = ids.str.replace(".", ",") if kind == "deutsch" else ids
            given[name] = stored(tmp_path, frame.assign(id=ids), f"{name}{first}.{suffix}")
        if refused:
            with pytest.raises(
                DataError, match=rf"/{rounded}.* the id 9?.* is a rounded number \("
            ):
                read(series=given["x"], labels=given["y"])
        else:
            found = read(series=given["x"], labels=given["y"]).values
            np.testing.assert_array_equal(found, EXPECTED.astype(np.float32))


@pytest.mark.parametrize("form", ["20240101123456789.00{}", "{}E+5", "1.2.840.113619.2.{}", "{}.0"])
def test_ids_that_only_look_like_rounded_numbers_are_read(tmp_path, form):
    ids = {name: form.format(k) for k, name in enumerate("abc", 1)}
    x = stored(tmp_path, LONG.assign(id=LONG.id.map(ids)), "x.csv")
    y = stored(tmp_path, LABELS.assign(id=LABELS.id.map(ids)), "y.csv")
    np.testing.assert_array_equal(read(series=x, labels=y).values, EXPECTED.astype(np.float32))


def test_one_id_in_two_spellings_is_refused_in_the_series_too(tmp_path):
    """007 and 7 may be two stays, whose values would be one."""
    ids = {"a": "7", "b": "8", "c": "007"}
    x = stored(tmp_path, LONG.assign(id=LONG.id.map(ids)), "x.csv")
    y = stored(tmp_path, LABELS.assign(id=LABELS.id.map(ids)), "y.csv")
    with pytest.raises(DataError, match=r"/x.csv: the ids 007 and 7 in id are the same number"):
        read(series=x, labels=y)


def test_the_patient_may_stand_in_the_series(tmp_path):
    series = LONG.assign(patient=LONG.id.map({"a": 1, "b": 1, "c": 2}))
    labels = stored(tmp_path, LABELS.drop(columns="person"), "y.csv")
    cohort = read(series=stored(tmp_path, series, "x.csv"), labels=labels, subject="patient")
    assert cohort.subject_ids[0] == cohort.subject_ids[1]
    np.testing.assert_array_equal(cohort.values, EXPECTED.astype(np.float32))
    twice = series.assign(patient=range(len(series)))
    with pytest.raises(DataError, match="the series a has 2 patients in patient"):
        read(series=stored(tmp_path, twice, "z.csv"), labels=labels, subject="patient")


@pytest.mark.parametrize("place", ["series", "labels"])
def test_patients_that_differ_by_case_only_are_told(tmp_path, caplog, place):
    """They count as two, who may be in train and in test."""
    people = {"a": "P001", "b": "p001", "c": "P002"}
    frames = {"series": LONG, "labels": LABELS.drop(columns="person")}
    frames[place] = frames[place].assign(patient=frames[place].id.map(people))
    paths = {name: stored(tmp_path, frame, f"{name}.csv") for name, frame in frames.items()}
    assert len(set(read(**paths, subject="patient").subject_ids)) == 2
    told = f"{place}.csv: the patients P001 and p001 in patient differ by case only (1 such)"
    assert told in caplog.text
    caplog.clear()
    upper = frames[place].assign(patient=frames[place].patient.str.upper())
    paths[place] = stored(tmp_path, upper, "upper.csv")
    assert len(set(read(**paths, subject="patient").subject_ids)) == 1
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
