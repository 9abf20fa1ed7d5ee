"""Properties over drawn shapes, types, gaps, labels and settings: a valid result or a UserError."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from configs import load_config
from configs.runtime.errors import ConfigError, DataError
from configs.schema.experiment import ExperimentConfig
from configs.schema.fields import walk
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.split_assignment import split_by_subject
from data_preprocess.storage.array_files import read_arrays
from data_preprocess.storage.dataset_files import load_dataset, save_dataset

BUDGET = settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
DTYPES = st.sampled_from(["f2", "f4", ">f8", "i1", "u2", "i8", "?", "c8", "U2"])


def any_array(dtypes=DTYPES, shapes=SHAPES):
    return dtypes.flatmap(lambda dtype: hnp.arrays(dtype, shapes))


@st.composite
def datasets(draw):
    """Fields of valid sets: 2 to 12 stays, gaps anywhere, labels of up to 3 classes. The sets are
    made in the tests: their type check draws random numbers, which strategies may not."""
    n, c, t = draw(st.tuples(st.integers(2, 12), st.integers(1, 3), st.integers(1, 6)))
    finite = st.floats(-1e4, 1e4, width=32)
    classes = draw(st.integers(1, 3))
    return dict(
        values=draw(hnp.arrays(np.float32, (n, c, t), elements=finite)),
        observed=draw(hnp.arrays(bool, (n, c, t))),
        labels=draw(hnp.arrays(np.int64, n, elements=st.integers(0, classes - 1))),
        subject_ids=draw(hnp.arrays(np.int64, n, elements=st.integers(-1, 5))),
        feature_names=tuple(f"channel{i}[1]" for i in range(c)),
        label_names=tuple(f"class{i}" for i in range(classes)),
        static=np.zeros((n, 0), np.float32),
        static_names=(),
    )


@BUDGET
@given(any_array(), any_array(), any_array(), any_array())
def test_a_dataset_keeps_its_contract_or_is_refused(values, observed, labels, subjects):
    channels = values.shape[1] if values.ndim > 1 else 1
    fields = {
        "values": values,
        "observed": observed,
        "labels": labels,
        "subject_ids": subjects,
        "feature_names": tuple(f"c{i}" for i in range(channels)),
        "label_names": ("no", "yes"),
        "static": np.zeros((len(labels) if labels.ndim else 0, 0), np.float32),
        "static_names": (),
    }
    # Past the type check of tests, so that the function itself refuses.
    made = object.__new__(EHRDataset)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    try:
        made.__post_init__()
    except DataError:
        return
    n = len(made.labels)
    assert made.values.ndim == 3 and len(made.values) == len(made.subject_ids) == n
    assert made.observed.shape == made.values.shape and made.observed.dtype == bool
    assert np.isfinite(made.values).all() and made.class_counts.sum() == n


@BUDGET
@given(datasets())
def test_a_written_dataset_is_read_back_bit_for_bit(fields):
    dataset = EHRDataset(**fields)
    with tempfile.TemporaryDirectory() as folder:
        save_dataset(Path(folder) / "x.npz", dataset)
        found = load_dataset(Path(folder) / "x.npz")
    for field in dataclasses.fields(dataset):
        wanted, read = getattr(dataset, field.name), getattr(found, field.name)
        if isinstance(wanted, np.ndarray):
            assert wanted.dtype == read.dtype and wanted.tobytes() == read.tobytes()
        else:
            assert wanted == read


@BUDGET
@given(
    any_array(st.sampled_from(["f4", "f8", "i4"]), hnp.array_shapes(min_dims=3, max_dims=3)),
    any_array(st.sampled_from(["i8", "f4", "?"]), hnp.array_shapes(min_dims=1, max_dims=1)),
    st.booleans(),
)
def test_files_are_read_whole_or_refused(values, labels, fitting):
    if fitting:  # otherwise almost every draw is refused for its lengths
        labels = np.arange(len(values)) % 2
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", values)
        np.save(Path(folder) / "x_labels.npy", labels)
        try:
            found = read_arrays(Path(folder) / "x.npy", key="data.files.train")
        except DataError as error:
            assert "x" in str(error) and not fitting or np.isinf(values).any(), error
            return
    assert found.values.shape == values.shape and len(found.labels) == len(values)
    # A gap stays a gap, and nothing else becomes one.
    np.testing.assert_array_equal(np.isnan(found.values), np.isnan(values.astype(float)))
    assert np.array_equal(found.labels, labels.astype(np.int64))


@BUDGET
@given(datasets(), st.sampled_from(["zscore", "quantile"]), st.integers(0, 9))
def test_the_normaliser_inverts_and_does_not_read_gaps(fields, kind, seed):
    dataset = EHRDataset(**fields)
    try:
        fitted = Normaliser.fit(dataset, kind=kind, clip=1e6)
    except DataError:  # a channel without two measured values
        return
    back = fitted.inverse_map(fitted.to_model(dataset.values).double()).float().numpy()
    scale = np.abs(dataset.values).max() + 1
    inside = dataset.observed & np.isfinite(back)
    np.testing.assert_allclose(back[inside], dataset.values[inside], atol=1e-4 * scale, rtol=1e-3)
    rng = np.random.default_rng(seed)
    other = np.where(dataset.observed, dataset.values, rng.normal(size=dataset.values.shape))
    changed = dataclasses.replace(dataset, values=other.astype(np.float32))
    assert Normaliser.fit(changed, kind=kind, clip=1e6).fingerprint() == fitted.fingerprint()
    assert Normaliser.from_plain(fitted.to_plain()) == fitted


@BUDGET
@given(
    hnp.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 25)),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.integers(0, 5),
)
def test_splits_hold_every_stay_once_and_no_patient_twice(subjects, guide, test, seed):
    labels = subjects % 2
    held_out: dict[str, float | int] = {"val_guide": guide, "test": test}
    parts = split_by_subject(subjects, labels, held_out=held_out, seed=seed)
    rows = np.concatenate(list(parts.values()))
    assert sorted(rows.tolist()) == list(range(len(subjects)))
    owners = [set(subjects[part].tolist()) for part in parts.values()]
    assert sum(map(len, owners)) == len(set(subjects.tolist()))
    for name, share in held_out.items():
        assert len(parts[name]) <= round(share * len(subjects))


# Bounded numbers whose value another key decides about too.
LINKED = (
    "data.val_guide",
    "data.val_select",
    "data.test",
    "diffusion.width",
    "diffusion.heads",
    "sampler.log_snr_min",
    "sampler.log_snr_max",
)
NUMBERS = {
    key: spec
    for key, _, spec in walk(ExperimentConfig(experiment="x"), "")
    if "low" in spec.metadata and key not in LINKED and not key.startswith("diffusion.private")
}


def tried(key, value):
    return load_config(["configs/base/tiny.yaml", f"{key}={value!r}"])


def leaf(config, key):
    for part in key.split("."):
        config = getattr(config, part)
    return config


def is_whole(spec):
    return "int" in str(spec.type) or spec.metadata["whole"]


@st.composite
def numbers(draw, inside):
    """A key and a number within its bounds, or outside of them."""
    key = draw(st.sampled_from(sorted(NUMBERS)))
    spec = NUMBERS[key]
    low, high = spec.metadata["low"], spec.metadata["high"]
    least = -50.0 if low is None else low
    most = least + 1000.0 if high is None else high
    whole = is_whole(spec)
    open_low, open_high = (spec.metadata[name] for name in ("open_low", "open_high"))
    if inside and whole:
        return key, draw(st.integers(int(np.ceil(least)), int(most)))
    if inside:
        return key, draw(st.floats(least, most, exclude_min=open_low, exclude_max=open_high))
    steps = (1, 10**6) if whole else (0.01, 1.0, 1e6)
    beyond = [] if low is None else [least - step for step in steps]
    beyond += [] if high is None else [high + step for step in steps]
    beyond += [] if whole else [float("nan")]
    beyond += [least] if open_low else []
    beyond += [most] if open_high else []
    value = draw(st.sampled_from(beyond))
    return key, int(value) if whole else value


@BUDGET
@given(numbers(inside=True))
def test_any_number_within_its_bounds_is_accepted(drawn):
    key, value = drawn
    assert leaf(tried(key, value), key) == pytest.approx(value)


@BUDGET
@given(numbers(inside=False))
def test_any_number_beyond_its_bounds_is_refused_by_name(drawn):
    key, value = drawn
    with pytest.raises(ConfigError, match=key.rsplit(".", 1)[-1]):
        tried(key, value)
