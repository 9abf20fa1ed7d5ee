"""write_long_csv: a dataset as the long table that spreadsheets, R and SQL users expect.

The inverse of the reader of `data.table`: one row per measured value, so a synthetic set can
go wherever the raw export came from.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from configs.runtime.atomic_files import atomic_path
from data_preprocess.dataset import EHRDataset
from data_preprocess.export.parquet_tables import measurements, require_distinct, series_chunks
from data_preprocess.storage.array_files import labels_of


def write_long_csv(path: Path, dataset: EHRDataset, *, step_minutes: float) -> None:
    """Writes `path` (id,time,variable,value) and `<stem>_labels.csv` beside it (id,label and
    the static covariates).

    Args:
        path: final name of the series table; a name ending in .gz is compressed.
        dataset: only its observed entries are written, in clinical units; for a synthetic set
            without masks that is every entry. `id` is the row number of the series in the dataset.
        step_minutes: minutes between grid points; `time` is minutes from the window's start.

    Each file appears whole or not at all; `label` is the class name.

    Raises:
        DataError: a static covariate has the name of another column.
    """
    require_distinct(["id", "label", *dataset.static_names], labels_of(path).name)
    labels = np.asarray(dataset.label_names)[dataset.labels]
    table = pd.DataFrame({"id": np.arange(len(dataset)), "label": labels})
    for name, column in zip(dataset.static_names, dataset.static.T, strict=True):
        table[name] = column
    with atomic_path(labels_of(path)) as temporary:
        table.to_csv(temporary, index=False)
    with atomic_path(path) as temporary:
        pd.DataFrame(columns=["id", "time", "variable", "value"]).to_csv(temporary, index=False)
        for rows, part in series_chunks(dataset):
            series, step, channel, value = measurements(part)
            chunk = {
                "id": rows[series],
                "time": step * step_minutes,
                "variable": np.asarray(dataset.feature_names)[channel],
                "value": value,
            }
            pd.DataFrame(chunk).to_csv(temporary, index=False, header=False, mode="a")


def table_columns(path: Path, dataset: EHRDataset) -> dict[str, dict[str, str]]:
    """Per file that `write_long_csv` writes, its columns and their types (export/croissant.py)."""
    static = dict.fromkeys(dataset.static_names, "Float")
    return {
        path.name: {"id": "Integer", "time": "Float", "variable": "Text", "value": "Float"},
        labels_of(path).name: {"id": "Integer", "label": "Text"} | static,
    }
