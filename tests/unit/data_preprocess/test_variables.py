"""The variable dictionary: what it must refuse, and that its labels are those of the release."""

import csv
import gzip
import re

import pytest
import yaml

from configs.runtime.errors import DataError
from data_preprocess.sources.hospital.variables import DICTIONARY, choose_variables, load_variables

SUSPICIOUS = re.compile(r"\b(set|limit|alarm|skin|high|low|apnea|threshold)\b", re.IGNORECASE)
# Ids that published dictionaries list as vital signs, from the cross-check in the issue.
NO_VITAL_SIGN = {
    226253: "spo2",
    619: "respiratory_rate",
    224688: "respiratory_rate",
    224027: "temperature",
    3655: "temperature",
    6072: "mean_pressure",
    220047: "heart_rate",
    40086: "urine",
}


def edited(tmp_path, change):
    plain = yaml.safe_load(DICTIONARY.read_text())
    change(plain)
    path = tmp_path / "variables.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path


@pytest.mark.parametrize("item", NO_VITAL_SIGN)
def test_set_points_alarm_limits_and_skin_probes_are_refused(tmp_path, item):
    def plant(plain):
        sources = plain["variables"][NO_VITAL_SIGN[item]]["sources"]
        sources.append(sources[0] | {"id": item})

    with pytest.raises(DataError, match=f"id {item} is refused"):
        load_variables(edited(tmp_path, plant))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["variables"]["spo2"].update(range=[100, 10]), "range .* is empty"),
        (lambda p: p["variables"]["spo2"].update(range=[0.5, 100]), "overlaps the valid raw range"),
        (lambda p: p["variables"]["spo2"].update(combine="median"), "expected mean or sum"),
        (lambda p: p["variables"]["spo2"]["sources"][0].update({"from": "a friend"}), "cites"),
        (lambda p: p["variables"]["spo2"]["sources"][0].update(id=211), "stands for both"),
        (lambda p: p["variables"]["spo2"]["sources"][0].update(pair=1), "paired with unknown"),
        (lambda p: p["variables"]["spo2"].pop("range"), "lacks 'range'"),
    ],
)
def test_an_unsound_dictionary_is_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        load_variables(edited(tmp_path, change))


def test_labels_tables_and_systems_are_those_of_the_release(open_data):
    with gzip.open(open_data / "mimic3_demo" / "D_ITEMS.csv.gz", "rt") as handle:
        items = {int(row["itemid"]): row for row in csv.DictReader(handle)}
    checked = 0
    for variable in load_variables().values():
        for source in variable.sources:
            if isinstance(source.key, int):
                item = items[source.key]
                found = (item["label"], item["dbsource"], item["linksto"])
                assert found == (source.label, source.system, source.table), source.key
                assert not SUSPICIOUS.search(item["label"]), item["label"]
                checked += 1
    assert checked > 50


def test_fahrenheit_is_converted_exactly():
    sources = {s.key: s for s in load_variables()["temperature"].sources}
    for item in (678, 223761):
        assert 98.6 * sources[item].scale + sources[item].shift == pytest.approx(37.0)
        assert 32 * sources[item].scale + sources[item].shift == pytest.approx(0.0, abs=1e-12)


def test_channels_are_chosen_by_name_and_system():
    chosen = choose_variables(["spo2", "heart_rate"], ["metavision"])
    assert [v.feature_name for v in chosen] == ["spo2[%]", "heart_rate[bpm]"]
    assert [[s.key for s in v.sources] for v in chosen] == [[220277], [220045]]
    with pytest.raises(DataError, match="'urine': not charted by eicu"):
        choose_variables(["urine"], ["eicu"])
    with pytest.raises(DataError, match="only once"):
        choose_variables(["spo2", "spo2"], ["eicu"])
