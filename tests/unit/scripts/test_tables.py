"""Which numbers earn a mark, and that tables align."""

import dataclasses

import pytest

from scripts.results.score_tables import difference_tables, score_tables, stars
from scripts.results.table import Table
from scripts.utility.bootstrap import Difference
from scripts.utility.summary import Summary


def summary(generator, mean, difference=None, *, metric="auroc", protocol="TSTR", ratio=None):
    return Summary(
        protocol=protocol,
        generator=generator,
        ratio=ratio,
        model="classifier",
        metric=metric,
        num_seeds=3,
        mean=mean,
        sd=0.01,
        low=mean - 0.02,
        high=mean + 0.02,
        vs_unguided=difference,
        vs_real=difference,
    )


def difference(low, high):
    return Difference(
        mean=(low + high) / 2, low=low, high=high, p=0.01, test_low=low, test_high=high
    )


def marked(*rows):
    return {key[-1] for key in stars(rows)}


CLEAR_GAIN, CLEAR_LOSS, UNCLEAR = (
    difference(0.01, 0.03),
    difference(-0.03, -0.01),
    difference(-0.01, 0.03),
)


def test_the_best_set_is_marked_only_if_its_interval_excludes_zero():
    unguided = summary("unguided", 0.70)
    assert marked(unguided, summary("influence", 0.72, CLEAR_GAIN)) == {"influence"}
    assert marked(unguided, summary("influence", 0.72, UNCLEAR)) == set()


def test_unguided_is_marked_only_if_every_other_set_is_clearly_worse():
    unguided = summary("unguided", 0.75)
    worse, unclear = summary("a", 0.73, CLEAR_LOSS), summary("b", 0.74, UNCLEAR)
    assert marked(unguided, worse) == {"unguided"}
    assert marked(unguided, worse, unclear) == set()
    assert marked(unguided) == set()


def test_lower_is_better_for_brier():
    unguided = summary("unguided", 0.10, metric="brier")
    assert marked(unguided, summary("a", 0.08, CLEAR_LOSS, metric="brier")) == {"a"}
    assert marked(unguided, summary("a", 0.12, CLEAR_GAIN, metric="brier")) == {"unguided"}


def all_metrics(generator, mean, protocol, ratio=None):
    return [
        summary(generator, mean, CLEAR_GAIN, metric=metric, protocol=protocol, ratio=ratio)
        for metric in ("auroc", "auprc", "f1", "brier", "ece")
    ]


@pytest.fixture
def rows():
    return [
        *all_metrics("real", 0.8, "TRTR", 0.0),
        *all_metrics("unguided", 0.7, "TSTR"),
        *all_metrics("influence", 0.75, "TSTR"),
        *all_metrics("influence", 0.75, "TSRTR", 0.2),
    ]


def test_text_tables_align(rows):
    (table,) = score_tables(rows)
    heading, columns, *lines = table.as_text().splitlines()
    starts = [columns.index(name) for name in ("AUROC", "AUPRC", "F1", "Brier")]
    for line in lines:
        if not line.startswith("-"):
            assert all(line[start] == "0" and line[start - 1] == " " for start in starts)
    assert "real + 0.2 synth. (TSRTR)" in table.as_text()
    assert "0.750 [0.730, 0.770]*" in table.as_text()


def test_p_values_that_survive_correction_say_so():
    kept = dataclasses.replace(CLEAR_GAIN, p=0.004, p_holm=0.02)
    lost = dataclasses.replace(CLEAR_GAIN, p=0.02, p_holm=0.06)
    (table,) = difference_tables([summary("a", 0.7, kept), summary("b", 0.7, lost)])
    assert "p=0.004+" in table.as_text()
    assert "p=0.020 " in table.as_text()


def test_differences_leave_out_the_real_baseline(rows):
    tables = difference_tables(rows)
    assert [table.heading.split(",")[0] for table in tables] == [
        "Paired differences in AUROC",
        "Paired differences in AUPRC",
    ]
    for table in tables:
        assert "real  " not in table.as_text() and "real + 0.2 synth." in table.as_text()
        assert "+0.020 [+0.010, +0.030] p=0.010" in table.as_markdown()
        assert table.as_markdown().count("\n| ") == 2 + 3
    assert difference_tables(rows[:4]) == []


def test_testing_on_a_set_shows_its_gap_to_real_testing(rows):
    assert "tested on set" not in difference_tables(rows)[0].as_text()
    found = [
        dataclasses.replace(row, vs_testing=CLEAR_GAIN, vs_real=None, vs_unguided=None)
        for row in all_metrics("influence", 0.82, "TRTS")
    ]
    table = difference_tables([*rows, *found])[0]
    (shown,) = [row for row in table.rows if row and row[0] == "tested on set"]
    place = table.columns.index("minus real only")
    assert shown[place] == "+0.020 [+0.010, +0.030]"
    assert {*shown[2:place], *shown[place + 1 :]} == {"-"}
    alone = difference_tables([*rows[:4], *found])[0]  # nothing else has a difference
    assert ["tested on set", "influence", "-", "+0.020 [+0.010, +0.030]"] in alone.rows


def test_every_row_of_a_page_has_the_name_of_its_block():
    sets = ("unguided", "influence")
    (table,) = score_tables([s for name in sets for s in all_metrics(name, 0.7, "TSTR")])
    assert table.as_text().count("synthetic (TSTR)") == 1
    assert table.as_markdown().count("| synthetic (TSTR) |") == 2
    assert [row[:2] for row in table.named_rows] == [["synthetic (TSTR)", name] for name in sets]


def test_a_bar_in_a_name_ends_no_cell_of_a_page():
    page = Table("T", ["set", "AUROC"], [["a|b", "0.7*"]]).as_markdown()
    assert page.splitlines()[-1] == r"| a\|b | 0.7\* |"


def test_titles_wider_than_their_cells_are_broken():
    rows = [["unguided", "0.1", "1"], [], ["b", "2", ""]]
    table = Table("T", ["set", "title of " + 50 * "x", "other " + 50 * "y"], rows)
    wide = table.as_text().splitlines()
    assert wide[1] == f"set       title of{44 * ' '}other" and len(wide[1]) < 100
    assert wide[2] == f"          {50 * 'x'}  {50 * 'y'}"
    narrow = Table("T", ["set", "a long title", "x"], rows).as_text().splitlines()
    assert narrow[1] == "set       a long title  x" and narrow[4] == "-" * 25
