"""What a message says to do fits the source that is read: a key of another source does nothing."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs import KNOWN
from configs.runtime.errors import DataError
from data_preprocess.cohort import Cohort
from data_preprocess.doubts import doubts
from tests.support import meds_folder
from tests.unit.data_preprocess.test_yaib import DYN, STA, read, stored

SOURCES = Path(__file__).parents[3] / "data_preprocess" / "sources"
SECTIONS = {key.split(".")[1] for key in KNOWN if re.fullmatch(r"data\.\w+\.\w+", key)}
OUTC = pd.DataFrame({"stay_id": [1, 2, 3], "label": [0, 1, 0]})

YAIB = {
    "other_stays": (DYN.assign(stay_id=DYN["stay_id"] + 10), "are both files of one cohort"),
    "commas": (DYN.assign(hr=["1,5"] + ["80"] * 12), "A decimal comma. Write a point. Correct or"),
    "a_ward": (DYN.assign(ward="A"), "List the channels in data.yaib.channels. Correct or empty"),
    "nothing": (DYN.assign(hr=None), "or leave them out of data.yaib.channels"),
    "times": (DYN.assign(time=DYN["time"].astype(str) + ",5"), "decimal comma. Write a point"),
    "late": (DYN.assign(time=DYN["time"] + 100), "times were taken as hours"),
    "days": (DYN.assign(time=DYN["time"] / 24), "in every series 2 of 3 steps are empty"),
}


@pytest.mark.parametrize("case", [*YAIB, "no_id"])
def test_yaib_names_no_key_of_own_tables(tmp_path, case):
    dyn, message = YAIB.get(case, (DYN, "complete them, or take them out of the file"))
    more = pd.DataFrame({"stay_id": [None], "label": [1]}) if case == "no_id" else None
    folder = stored(tmp_path, dyn=dyn, sta=STA, outc=pd.concat([OUTC, more]))
    with pytest.raises(DataError, match=message) as error:
        read(folder, hours=3.0, channels=["hr", "ward"] if case == "a_ward" else ["hr"])
    assert "data.table" not in str(error.value)


@pytest.mark.parametrize(
    ("hours", "message"),
    [(0.0001, "no value of a channel lies in the 0.0001 h before"), (4.0, "steps are empty")],
)
def test_meds_names_no_key_of_own_tables(tmp_path, monkeypatch, hours, message):
    monkeypatch.setattr(meds_folder, "EVENTS", [(s, 2, 10.0 + s) for s in (1, 2, 3)])
    with pytest.raises(DataError, match=message) as error:
        meds_folder.read(meds_folder.small_folder(tmp_path), hours=hours)
    assert "data.table" not in str(error.value)


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_code_for_missing_names_ranges_where_they_are_read(has_ranges):
    values = np.random.default_rng(0).normal(80, 5, (20, 1, 4)).astype(np.float32)
    values[:5, 0, 0] = -999
    cohort = Cohort(
        values=values,
        labels=np.arange(20) % 2,
        subject_ids=np.arange(20),
        feature_names=("hr",),
        label_names=("a", "b"),
        static=np.zeros((20, 0), np.float32),
        static_names=(),
    )
    (found,) = doubts(cohort, has_ranges=has_ranges)
    assert ("data.table.ranges={'hr': [LOW, HIGH]}" in found) == has_ranges


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: path.stem)
def test_every_key_that_a_reader_names_is_one(path):
    text = path.read_text(encoding="utf-8")
    named = re.findall(rf"\bdata\.(?:{'|'.join(SECTIONS)})\.[a-z_]+\b", text)
    assert set(named) <= set(KNOWN)
