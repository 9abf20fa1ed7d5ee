"""write_yaib: a data set as the trio of tables in which YAIB and ricu keep a cohort.

`dyn` holds a row per stay and step, `sta` the static covariates, `outc` the label. The inverse of
data_preprocess/sources/yaib/reader.py.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from data_preprocess.dataset import EHRDataset, bare_name, unit_of
from data_preprocess.export.parquet_tables import require_distinct, series_chunks, write_parquet
from data_preprocess.sources.vocabulary import QUANTITIES

log = logging.getLogger("tardiff.data")

# YAIB's name -> ours. A variable that is not listed keeps its own name. Those written here are
# YAIB's alone, or have another unit there.
VARIABLES = {q.in_yaib: f"{q.name}[{q.unit}]" for q in QUANTITIES if q.in_yaib} | {
    "bnd": "band_neutrophils[%]",
    "cai": "calcium_ionised[mmol/L]",
    "ck": "creatine_kinase[IU/L]",
    "ckmb": "creatine_kinase_mb[ng/mL]",
    "crp": "crp[mg/L]",
    "fio2": "fio2[%]",
    "inr_pt": "inr[-]",
    "lymph": "lymphocytes[%]",
    "mch": "mch[pg]",
    "mchc": "mchc[%]",
    "mcv": "mcv[fL]",
    "methb": "methaemoglobin[%]",
    "neut": "neutrophils[%]",
    "tnt": "troponin_t[ng/mL]",
}
STATIC = {"age": "age[years]", "height": "height[cm]", "weight": "weight[kg]"}  # sex is text there
SEX = "sex[1=male]"
SEX_WORDS = {0: "Female", 1: "Male"}
# A channel in another unit keeps its whole name, so that nobody takes it for YAIB's.
_COLUMNS = {ours: column for column, ours in VARIABLES.items()}
_STATIC_COLUMNS = {ours: column for column, ours in STATIC.items()} | {SEX: "sex"}


def write_yaib(folder: Path, dataset: EHRDataset, *, step_minutes: float) -> None:
    """Writes `dyn.parquet`, `sta.parquet` and `outc.parquet`.

    Args:
        dataset: in clinical units; what is not observed is NULL. `stay_id` is the row number,
            `label` the class number.
        step_minutes: minutes between grid points; `time` is hours since the window's start.

    Raises:
        DataError: a channel or covariate has the name of another column.
    """
    names = [_COLUMNS.get(name, name) for name in dataset.feature_names]
    covariates = [_STATIC_COLUMNS.get(name, name) for name in dataset.static_names]
    require_distinct(["stay_id", "time", *names], "dyn.parquet")
    require_distinct(["stay_id", *covariates], "sta.parquet")
    for name in names:
        if name in VARIABLES and name in dataset.feature_names:
            log.warning(
                "channel %s has no unit, and YAIB takes a column of this name as %s in %s",
                name,
                bare_name(VARIABLES[name]),
                unit_of(VARIABLES[name]),
            )
    write_parquet(
        folder / "dyn.parquet",
        {"stay_id": "BIGINT", "time": "DOUBLE"} | dict.fromkeys(names, "DOUBLE"),
        _dynamic(dataset, names, step_minutes),
    )
    stays = {"stay_id": np.arange(len(dataset))}
    static = dict(zip(covariates, _static(dataset), strict=True))
    kinds = {name: "VARCHAR" if name == "sex" else "DOUBLE" for name in static}
    write_parquet(
        folder / "sta.parquet", {"stay_id": "BIGINT"} | kinds, [pd.DataFrame(stays | static)]
    )
    write_parquet(
        folder / "outc.parquet",
        {"stay_id": "BIGINT", "label": "INTEGER"},
        [pd.DataFrame(stays | {"label": dataset.labels})],
    )


def _dynamic(dataset: EHRDataset, names: list[str], step_minutes: float) -> Iterator[pd.DataFrame]:
    hours = np.arange(dataset.length) * step_minutes / 60
    for rows, part in series_chunks(dataset):
        table = np.where(part.observed, part.values, np.nan).transpose(0, 2, 1)
        frame = pd.DataFrame(table.reshape(-1, len(names)).astype(np.float64), columns=names)
        frame.insert(0, "stay_id", np.repeat(rows, len(hours)))
        frame.insert(1, "time", np.tile(hours, len(rows)))
        yield frame


def _static(dataset: EHRDataset) -> Iterator[np.ndarray]:
    for name, column in zip(dataset.static_names, dataset.static.T, strict=True):
        if name == SEX:
            words = [SEX_WORDS.get(code) for code in column.tolist()]
            yield np.array(words, object)
        else:
            yield column.astype(np.float64)
