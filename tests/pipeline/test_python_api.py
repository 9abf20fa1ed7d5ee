"""The blocks of docs/python_api.md, run as they stand, in order."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from configs.runtime.errors import DataError, MismatchError, MissingInputError
from data_preprocess.build import load_splits
from data_preprocess.storage.dataset_files import load_dataset
from tardiff.synthesiser import Synthesiser

PAGE = Path(__file__).parents[2] / "docs" / "python_api.md"
FEW = ("diffusion.max_steps=2", "diffusion.marginal_rows=0", "classifier.max_epochs=1")


def test_the_page_does_what_it_says(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page"}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"python_api.md, block {number}", "exec"), names)
    assert {p.name for p in (tmp_path / "cohort").iterdir()} >= {"dyn.parquet", "croissant.json"}
    model, x, y = (names[name] for name in ("model", "x", "y"))
    series = load_dataset(tmp_path / "out" / "series.npz")
    np.testing.assert_array_equal(series.observed, ~np.isnan(x))
    first, same, other = (model.sample([2, 3], seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.values, same.values)
    assert not np.array_equal(first.values, other.values)
    for changes, what in (({"x": x + 1}, "values, feature_names"), ({}, "feature_names")):
        said = rf"a fit of other series; give another folder.*\(not the same: {what}\)"
        with pytest.raises(MismatchError, match=said):
            model.fit(**({"x": x, "y": y} | changes))  # without names of channels
    np.testing.assert_array_equal(model.sample([2, 3], seed=1).values, first.values)


def test_the_default_settings_take_arrays_of_any_number(tmp_path):
    """The demo's config fixes the sizes of its own, much larger cohort."""
    x = np.random.default_rng(0).normal(80, 10, (120, 2, 12))
    model = Synthesiser(tmp_path, *FEW).fit(x, np.arange(120) % 2)
    sizes = {name: len(split) for name, split in load_splits(model.config().data).items()}
    assert sizes == {"train": 72, "val_guide": 12, "val_select": 12, "test": 24}


def test_few_series_are_told(tmp_path, caplog):
    x = np.random.default_rng(0).normal(80, 10, (30, 2, 12))
    Synthesiser(tmp_path, *FEW).fit(x, np.arange(30) % 2)
    (told,) = [text for text in caplog.messages if "too few series for four splits" in text]
    assert (
        "30 in all, train would have 18 (9 class_0, 9 class_1); needed are 20 in train and in"
        in told
    )


def test_guidance_rows_may_be_given(tmp_path):
    """Patients of x and of the guidance rows have numbers of their own where one has no names."""
    rng = np.random.default_rng(0)
    x, guide = rng.normal(80, 10, (120, 2, 12)), rng.normal(90, 10, (40, 2, 12))
    y, names = np.arange(120) % 2, [k // 2 for k in range(120)]
    model = Synthesiser(tmp_path, *FEW)
    model.fit(x, y, subjects=names, guidance=(guide, np.arange(40) % 2))
    splits = load_splits(Synthesiser(tmp_path, *FEW).config().data)
    sizes = {name: len(split) for name, split in splits.items()}
    assert sizes == {"train": 96, "val_guide": 20, "val_select": 20, "test": 24}
    given = {row.tobytes() for row in guide.astype(np.float32)}
    assert {row.tobytes() for row in splits.val_guide.values} <= given
    model.fit(x, y, subjects=names, guidance=(guide, np.arange(40) % 2))  # up to date
    for other, what in ((None, "guidance"), ((guide + 1, np.arange(40) % 2), "values of guidance")):
        with pytest.raises(MismatchError, match=rf"not the same: {what}\)"):
            model.fit(x, y, subjects=names, guidance=other)


@pytest.mark.parametrize(
    ("guidance", "said"),
    [
        (np.zeros((4, 2, 4)), r"guidance is a ndarray; expected the tuple \(x, y\)"),
        ((np.zeros((4, 3, 4)), [0, 1, 0, 1]), r"guidance has x of shape \(4, 3, 4\), the series"),
        ((np.zeros((4, 2, 4)), [0, 1]), r"fit, guidance, .*label has shape \(2,\)"),
    ],
)
def test_guidance_rows_that_do_not_fit_are_refused(tmp_path, guidance, said):
    with pytest.raises(DataError, match=said):
        Synthesiser(tmp_path).fit(np.zeros((10, 2, 4)), np.arange(10) % 2, guidance=guidance)


def test_series_are_not_drawn_away_from_guidance_rows_that_are_given(tmp_path):
    """`x` may be of another hospital than those whom the series are meant for."""
    yaml = tmp_path / "own.yaml"
    yaml.write_text("experiment: own\ngeneration: {resample: always}\n")
    plain, asked = Synthesiser(tmp_path), Synthesiser(tmp_path, "generation.resample=auto")
    own = Synthesiser(tmp_path, config=yaml)
    assert plain.config().generation.resample == "auto"
    (tmp_path / "guidance.npz").touch()
    found = [each.config().generation.resample for each in (plain, asked, own)]
    assert found == ["never", "auto", "always"]


def test_guidance_rows_of_a_fit_that_failed_are_forgotten(tmp_path):
    x, y, model = np.zeros((10, 2, 4)), np.arange(10) % 2, Synthesiser(tmp_path)
    for guidance in ((x, y), None):
        with pytest.raises(DataError, match="only 0 in the train split"):
            model.fit(x, y, guidance=guidance)
        assert (model.config().data.files.val is None) == (guidance is None)


def test_settings_may_be_a_mapping(tmp_path):
    given = {"guidance.w": 0.5, "seed": 3, "data.guide_size": None, "data.space": {"masks": True}}
    config = Synthesiser(tmp_path, given, "seed=4", {"evaluation.seeds": [1, 2]}).config()
    assert (config.guidance.w, config.seed, config.data.guide_size) == (0.5, 4, None)
    assert config.data.space.masks and config.evaluation.seeds == [1, 2]


def test_nothing_but_warnings_is_printed(tmp_path):
    """Lightning logs by itself where nobody has set up logging when it is imported."""
    program = f"""
import numpy as np
from tardiff.synthesiser import Synthesiser
x = np.random.default_rng(0).normal(80, 10, (120, 2, 12))
Synthesiser({str(tmp_path)!r}, *{FEW}).fit(x, np.arange(120) % 2)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "" and not re.search("GPU|Tip|Trainer", done.stderr), done.stderr


def test_arrays_that_do_not_fit_are_refused(tmp_path):
    x, y = np.zeros((10, 2, 4)), np.arange(10) % 2
    model = Synthesiser(tmp_path, config="tiny")
    with pytest.raises(
        DataError, match=r"4 names of channels .*\(10, 2, 4\).*x\.transpose\(0, 2, 1\)"
    ):
        model.fit(x, y, channels=["a", "b", "c", "d"])
    with pytest.raises(DataError, match="expected a list with one name a channel"):
        model.fit(x, y, channels="ab")


@pytest.mark.parametrize(("shape", "told"), [((10, 12, 3), True), ((10, 3, 12), False)])
def test_axes_that_may_be_swapped_are_asked_about(tmp_path, caplog, shape, told):
    x, y = np.zeros(shape), np.arange(10) % 2
    with pytest.raises(DataError, match="only 0 in the train split"):
        Synthesiser(tmp_path, config="tiny").fit(x, y)
    assert ("12 channels x 3 points: x is read as (N, C, T)" in caplog.text) == told


@pytest.mark.parametrize("kind", [np.array, pd.Index])
def test_names_of_channels_may_be_an_array(tmp_path, kind):
    x, y = np.zeros((10, 2, 4)), np.arange(10) % 2
    with pytest.raises(DataError, match="channel spo2"):
        Synthesiser(tmp_path, config="tiny").fit(x, y, channels=kind(["spo2", "gcs"]))


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (np.zeros((10, 4)), np.arange(10) % 2, r"data has shape \(10, 4\), expected"),
        (
            np.zeros((10, 2, 4), object),
            np.arange(10) % 2,
            r"fit, x as data and y as label: data has dtype object, expected numbers; \.astype",
        ),
        (np.zeros((10, 2, 4)), ["no", "yes"] * 5, "label must hold whole numbers"),
        (np.zeros((10, 2, 4)), np.arange(9) % 2, r"label has shape \(9,\), expected \(10,\)"),
        (np.zeros((0, 2, 4)), [], "none empty"),
        (np.zeros((10, 2, 4)), np.zeros(10, int), "every label is 0"),
        (np.zeros((10, 2, 4)), np.arange(10) % 2 * 2, "no series is of class 1"),
        ([[[1.0, 2.0]], [[1.0]]], [0, 1], "fit: x is no array"),
        (np.zeros((2, 2, 4)), [[0], [0, 1]], "fit: y is no array"),
        (np.zeros((2, 2, 4)), np.array(None), r"label has shape \(\)"),
        (np.ma.masked_equal(np.full((2, 2, 4), "a"), "a"), [0, 1], "x is no array: masked values"),
        (torch.zeros(2, 2, 4, requires_grad=True), [0, 1], r"x is no array: .*\.detach\(\)"),
        (torch.zeros(2, 2, 4).bfloat16(), [0, 1], "x is no array: .*BFloat16"),
        (1e9 + np.arange(80.0).reshape(10, 2, 4), np.arange(10) % 2, "single precision cannot"),
        (np.ones((3, 2, 4)), np.ma.masked_equal([0, 1, 9], 9), "1 of 3 labels are NaN"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path, x, y, said):
    with pytest.raises(DataError, match=said):
        Synthesiser(tmp_path, config="tiny").fit(x, y)
    assert not (tmp_path / "series.npz").exists()


@pytest.mark.parametrize("kind", [np.asanyarray, list])
def test_what_is_masked_was_not_measured(tmp_path, kind):
    """The number beneath a mask was read as measured."""
    x = np.ma.masked_equal(np.where(np.arange(80).reshape(10, 2, 4) % 3, 80, -999), -999)
    with pytest.raises(DataError, match="only 80 in the train split"):
        Synthesiser(tmp_path, config="tiny").fit(kind(x), np.arange(10) % 2)
    assert np.array_equal(load_dataset(tmp_path / "series.npz").observed, ~x.mask)


def test_a_config_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    with pytest.raises(MissingInputError, match="config='nonesuch': no such file.*demo, .*tiny"):
        Synthesiser(tmp_path, config="nonesuch")


@pytest.mark.parametrize("counts", [{0: 20, 1: 10}, 30, pd.Series([20, 10]), [[20, 10]]])
def test_counts_are_a_list(tmp_path, monkeypatch, counts):
    """The keys of a dictionary were taken for the counts."""
    monkeypatch.setattr(Synthesiser, "_is_built", lambda self: True)
    with pytest.raises(DataError, match=f"counts is a {type(counts).__name__}; expected a list"):
        Synthesiser(tmp_path, config="tiny").sample(counts)


def test_patients_may_have_names_and_labels_be_booleans(tmp_path):
    x = np.random.default_rng(0).normal(80, 10, (120, 2, 12)).tolist()
    names = pd.Series([f"P{k // 2}" for k in range(120)])  # an array of objects
    model = Synthesiser(tmp_path, *FEW).fit(x, np.arange(120) % 4 < 2, subjects=names)
    subjects = [set(s.subject_ids.tolist()) for _, s in load_splits(model.config().data).items()]
    assert sum(map(len, subjects)) == 60


def test_numbers_of_patients_and_labels_may_be_objects(tmp_path):
    """`must be whole numbers or texts, ... series 0 has 0`."""
    y, patients = (pd.Series(k, dtype=object) for k in (np.arange(10) % 2, np.arange(10)))
    with pytest.raises(DataError, match="only 1 in the train split"):
        Synthesiser(tmp_path, config="tiny").fit(np.ones((10, 2, 4)), y, subjects=patients)


@pytest.mark.parametrize(
    ("patients", "said"),
    [
        (np.arange(10) + 2.0**53, "float64 up to 90071992547410.., where neighbours are rounded"),
        (np.array([2**63 + k for k in range(9)] + [1], object), "must be whole numbers or texts"),
    ],
)
def test_patients_whose_numbers_are_rounded_are_refused(tmp_path, patients, said):
    """Several became one."""
    with pytest.raises(DataError, match=said):
        Synthesiser(tmp_path, config="tiny").fit(
            np.ones((10, 2, 4)), np.arange(10) % 2, subjects=patients
        )


def test_patients_without_a_name_are_shown(tmp_path):
    x, y, names = np.zeros((4, 2, 4)), [0, 1, 0, 1], np.array(["P1", None, "P2", "P2"], object)
    with pytest.raises(DataError, match=r"-1: unknown\); found .* of object, series 1 has None"):
        Synthesiser(tmp_path, config="tiny").fit(x, y, subjects=names)
