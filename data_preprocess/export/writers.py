"""export: a set of series, synthetic or real, in one of the forms of WRITERS, with its metadata."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from configs.runtime.atomic_files import fresh_folder
from configs.runtime.errors import UserError
from data_preprocess.dataset import EHRDataset
from data_preprocess.export.croissant import write_croissant
from data_preprocess.export.long_csv import table_columns, write_long_csv
from data_preprocess.export.meds import write_meds
from data_preprocess.export.yaib import write_yaib
from data_preprocess.storage.dataset_files import load_dataset

log = logging.getLogger(__name__)


def write_csv(folder: Path, dataset: EHRDataset, *, step_minutes: float) -> None:
    """Writes `series.csv` and `series_labels.csv` into `folder`."""
    write_long_csv(folder / "series.csv", dataset, step_minutes=step_minutes)


WRITERS: dict[str, Callable[..., None]] = {"csv": write_csv, "meds": write_meds, "yaib": write_yaib}


def export(
    source: Path, form: str, folder: Path, *, step_minutes: float, split: str | None = None
) -> EHRDataset:
    """Writes the set in `source` (.npz) to `folder` in one of WRITERS' forms, and returns it.

    Args:
        step_minutes: minutes between grid points, as data.step_minutes was.
        split: `meds` only: as of `write_meds`; None: its default.

    Raises:
        UserError: the set cannot be read, `folder` is there already, the step is no length, or the
            split is none of this form.
    """
    if not 0 < step_minutes < np.inf:
        raise UserError(f"step_minutes={step_minutes:g}: expected a number above 0")
    if split is not None and form != "meds":
        raise UserError(
            f"split={split}: the form {form} has no splits, only meds has; leave it out"
        )
    if folder.exists():
        raise UserError(f"{folder} exists and is left alone; choose another folder for the export")
    dataset = load_dataset(source)
    patients = np.unique(dataset.subject_ids)
    if patients.min() >= 0 and len(patients) < len(dataset):  # -1: synthetic, of nobody
        log.warning(
            "%s: %d series of %d patients; in the export every series has an id of its own, so it "
            "does not say which belong to one patient: do not split it again",
            source,
            len(dataset),
            len(patients),
        )
    with fresh_folder(folder) as place:
        options = {} if split is None else {"split": split}
        WRITERS[form](place, dataset, step_minutes=step_minutes, **options)
        write_croissant(
            place / "croissant.json",
            dataset,
            name=source.stem,
            files=sorted(path for path in place.rglob("*") if path.is_file()),
            tables=table_columns(place / "series.csv", dataset) if form == "csv" else None,
        )
    return dataset
