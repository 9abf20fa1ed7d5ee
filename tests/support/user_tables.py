"""A user's table of 80 series, in the forms that it may have; what is proposed for it and built."""

import csv
import gzip
import logging

import numpy as np

from configs import load_config
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.new_experiment.__main__ import main

N, HOURS = 80, 6
CHANNELS = ("heart_rate[bpm]", "lactate")
rng = np.random.default_rng(0)
VALUES = np.round(rng.normal(size=(N, 2, HOURS)) * [[10], [1]] + [[80], [2]], 2)
VALUES[:, 0, 0] = 60 + np.arange(N) / 2  # by which a series is found again
VALUES[:, 1, 1::2] = np.nan  # lactate every other hour
DIED = np.arange(N) % 4 == 0
STAYS = 5000 + np.arange(N)


def wide(label="outcome", words=("survived", "died"), time="hour"):
    """Header and rows of a wide table with label, age and patient inside."""
    header = ["stay_id", "patient_id", time, *CHANNELS, "age", "sex", "ward", label]
    rows = [
        [STAYS[i], f"P{i // 2}", t, *texts(VALUES[i, :, t]), 40 + i % 30, "MF"[i % 2], "A"]
        + [words[int(DIED[i])]]
        for i in range(N)
        for t in range(HOURS)
    ]
    return header, rows


def texts(values):
    return ["" if np.isnan(v) else str(v) for v in values]


def write(path, header, rows, delimiter=",", decimal="."):
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter=delimiter)
        writer.writerow(header)
        for row in rows:
            writer.writerow([str(c).replace(".", decimal) if decimal != "." else c for c in row])
    return path


def propose(folder, *arguments):
    main([*map(str, arguments), f"out={folder / 'mine.yaml'}", f"data.dir={folder / 'data'}"])
    return load_config([str(folder / "mine.yaml")])


def built(config):
    """Values with NaN where nothing was measured, labels; in the order of STAYS."""
    ensure_built(config.data)
    splits = [split for _, split in load_splits(config.data).items()]
    values = np.concatenate([np.where(s.observed, s.values, np.nan) for s in splits])
    labels = np.concatenate([s.labels for s in splits])
    first = np.concatenate([s.values[:, 0, 0] for s in splits])
    rows = np.argsort(first)
    return values[rows], labels[rows], splits


def require_true(config, steps=HOURS):
    values, labels, splits = built(config)
    assert values.shape == (N, 2, steps)
    assert np.allclose(values[:, :, :HOURS], VALUES, atol=1e-4, equal_nan=True)
    assert np.array_equal(labels, DIED)
    return splits


def changed(**columns):
    """The wide table with columns computed from a row as a dict; None removes a column."""
    header, rows = wide()
    out = [name for name in header if columns.get(name, "") is not None]
    found = [dict(zip(header, row, strict=True)) for row in rows]
    for row in found:
        row |= {name: rule(row) for name, rule in columns.items() if rule}
    return out, [[row[name] for name in out] for row in found]


def long_rows(hours):
    """Three variables an hour, each at a minute of its own; the stay ends after its hours."""
    noise = np.random.default_rng(1)
    for i in range(N):
        for t in range(hours(i)):
            for k, name in enumerate(("hr", "spo2", "resp")):
                minute = 60 * t + 20 * k + float(noise.integers(0, 9))
                yield [i, minute, name, round(80 + 5 * noise.normal(), 2), i % 4 == 0]


def told(folder, caplog, rows, *more):
    """What is proposed for a long table; the log holds what it says."""
    path = write(folder / "x.csv", ["stay", "minute", "variable", "value", "died"], rows)
    with caplog.at_level(logging.INFO):
        return propose(folder, path, *more)
