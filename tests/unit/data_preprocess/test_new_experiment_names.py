"""What new_experiment takes from the names of columns and classes."""

import pytest

from data_preprocess.new_experiment.columns import named, plain
from data_preprocess.new_experiment.roles import class_order
from data_preprocess.new_experiment.timing import named_unit


@pytest.mark.parametrize(
    ("time", "unit"),
    [
        ("hour", "hours"),
        ("offset_min", "minutes"),
        ("offsetSecs", "seconds"),
        ("t_s", "seconds"),
        ("day", "days"),
        ("time_administered", ""),  # holds no minutes
        ("time_of_day", ""),  # no days
        ("timestamp", ""),
    ],
)
def test_the_unit_of_times_is_a_word_of_the_name(time, unit):
    found, doubt = named_unit(time, last=5.0)
    assert (found, bool(doubt)) == (unit or "hours", not unit)


def test_what_names_say():
    assert plain("Stay_ID [no.]") == "stayid"
    assert named(["patient_id", "Stay ID"], ("stayid", "patientid")) == "Stay ID"
    assert class_order({"survived": 10, "died": 90}) == (["survived", "died"], "by its name")
    assert class_order({"a": 10, "b": 90}) == (["b", "a"], "the rarer one")
