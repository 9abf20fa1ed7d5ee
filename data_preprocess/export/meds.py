"""write_meds: a data set as a MEDS 0.4 folder with a label table and a channel mapping.

    data/0.parquet                  events: subject_id, time, code, numeric_value
    metadata/dataset.json, codes.parquet, subject_splits.parquet
    labels.parquet                  subject_id, prediction_time, boolean_value or integer_value
    channels.yaml                   code -> channel and unit, so that the folder reads back

The inverse of data_preprocess/sources/meds/reader.py.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from configs.runtime.errors import UserError
from data_preprocess.dataset import EHRDataset, bare_name, unit_of
from data_preprocess.export.parquet_tables import measurements, series_chunks, write_parquet

MEDS_VERSION = "0.4.1"
SPLITS = ("train", "tuning", "held_out")
MAPPING = "channels.yaml"
START = np.datetime64("2000-01-01T00:00:00", "us")  # of every window; nobody was there
_EVENTS = {
    "subject_id": "BIGINT",
    "time": "TIMESTAMP",
    "code": "VARCHAR",
    "numeric_value": "FLOAT",
}


def write_meds(
    folder: Path, dataset: EHRDataset, *, step_minutes: float, split: str = "train"
) -> None:
    """Writes the files of a MEDS data set into `folder`.

    Args:
        dataset: in clinical units; only its observed entries are events. `subject_id` is the row
            number; a static covariate is an event without time.
        step_minutes: minutes between grid points. A step's event is in its middle, and the
            prediction time at the end of the window: all events are before it, and no edge of a
            step decides where one belongs.
        split: the MEDS split that all series belong to.

    Raises:
        UserError: MEDS has no such split.
    """
    if split not in SPLITS:
        raise UserError(f"split={split}: MEDS has {', '.join(SPLITS)}")
    features = {name: code_of(name) for name in dataset.feature_names}
    static = {name: code_of(name) for name in dataset.static_names}
    subjects = np.arange(len(dataset))
    write_parquet(
        folder / "data" / "0.parquet", _EVENTS, _events(dataset, features, static, step_minutes)
    )
    _write_metadata(folder / "metadata", dataset, features | static)
    write_parquet(
        folder / "metadata" / "subject_splits.parquet",
        {"subject_id": "BIGINT", "split": "VARCHAR"},
        [pd.DataFrame({"subject_id": subjects, "split": split})],
    )
    binary = dataset.num_classes == 2
    end = START + _microseconds(np.array([dataset.length * step_minutes]))[0]
    value = "boolean_value" if binary else "integer_value"
    write_parquet(
        folder / "labels.parquet",
        {
            "subject_id": "BIGINT",
            "prediction_time": "TIMESTAMP",
            value: "BOOLEAN" if binary else "BIGINT",
        },
        [pd.DataFrame({"subject_id": subjects, "prediction_time": end, value: dataset.labels})],
    )
    mapping = {
        "channels": {
            key: {"unit": unit, "codes": [features[name]]}
            for name, key, unit in _keys(list(features))
        },
        "static": {
            key: {"unit": unit, "code": static[name]} for name, key, unit in _keys(list(static))
        },
    }
    text = yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True)
    (folder / MAPPING).write_text(text, encoding="utf-8")


def _keys(names: Sequence[str]) -> Iterator[tuple[str, str, str | None]]:
    """(name, key, unit) of every column; the key is the bare name, or the whole where two share
    it, or where bare name and unit do not make the name, as of "HR [bpm]"."""
    bare = [bare_name(name) for name in names]
    for name, short in zip(names, bare, strict=True):
        unit = unit_of(name)
        alone = bare.count(short) == 1 and name in (short, f"{short}[{unit}]")
        yield (name, short, unit) if alone else (name, name, None)


def code_of(name: str) -> str:
    """The code of a channel or covariate: "heart_rate[bpm]" -> "heart_rate//bpm"."""
    return f"{bare_name(name)}//{unit_of(name)}" if unit_of(name) else name


def _microseconds(minutes: np.ndarray) -> np.ndarray:
    return np.round(minutes * 60e6).astype("timedelta64[us]")


def _events(
    dataset: EHRDataset, features: dict[str, str], static: dict[str, str], step_minutes: float
) -> Iterator[pd.DataFrame]:
    """By subject, then time, as MEDS wants it; what has no time comes first."""
    codes = np.array([*static.values(), *features.values()], object)
    times = START + _microseconds((np.arange(dataset.length) + 0.5) * step_minutes)
    for rows, part in series_chunks(dataset):
        person, fact = np.nonzero(~np.isnan(part.static))
        series, step, channel, value = measurements(part)
        nowhen = np.full(len(person), np.datetime64("NaT", "us"))
        frame = pd.DataFrame(
            {
                "subject_id": rows[np.concatenate([person, series])],
                "time": np.concatenate([nowhen, times[step]]),
                "code": codes[np.concatenate([fact, len(static) + channel])],
                "numeric_value": np.concatenate([part.static[person, fact], value]),
            }
        )
        yield frame.sort_values("subject_id", kind="stable")


def _write_metadata(folder: Path, dataset: EHRDataset, codes: dict[str, str]) -> None:
    rows = pd.DataFrame({"code": list(codes.values()), "description": list(codes)})
    write_parquet(
        folder / "codes.parquet",
        {"code": "VARCHAR", "description": "VARCHAR", "parent_codes": "VARCHAR[]"},
        [rows.assign(parent_codes=None)],
    )
    facts = {
        "dataset_name": "synthetic series" if dataset.is_synthetic else "series of patients",
        "etl_name": "tardiff",
        "meds_version": MEDS_VERSION,
        "created_at": datetime.now(timezone.utc).isoformat(),
    }
    (folder / "dataset.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
