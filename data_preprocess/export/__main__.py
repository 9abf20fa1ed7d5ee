"""export: a set of series, synthetic or real, in the form that another tool reads.

    python -m data_preprocess.export runs/demo/synthetic/guided.npz meds out/ [--step-minutes 60]

`yaib` writes the trio dyn, sta and outc (YAIB, ricu, OpenICU), `meds` a MEDS 0.4 folder with
labels, `csv` the long table. Each folder gets a `croissant.json`; nothing is left of an export that
fails.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from configs.runtime.atomic_files import fresh_folder
from configs.runtime.errors import UserError, explain
from data_preprocess.dataset import EHRDataset
from data_preprocess.export.croissant import write_croissant
from data_preprocess.export.meds import write_meds
from data_preprocess.export.yaib import write_yaib
from data_preprocess.storage.csv_export import table_columns, write_long_csv
from data_preprocess.storage.dataset_files import load_dataset

log = logging.getLogger("tardiff.export")


def write_csv(folder: Path, dataset: EHRDataset, *, step_minutes: float) -> None:
    """Writes `series.csv` and `series_labels.csv` into `folder`."""
    write_long_csv(folder / "series.csv", dataset, step_minutes=step_minutes)


WRITERS: dict[str, Callable[..., None]] = {"csv": write_csv, "meds": write_meds, "yaib": write_yaib}


def export(source: Path, form: str, folder: Path, *, step_minutes: float) -> None:
    """Writes the set in `source` (.npz) to `folder` in one of WRITERS' forms.

    Args:
        step_minutes: minutes between grid points, as data.step_minutes was.

    Raises:
        UserError: the set cannot be read, or `folder` is there already.
    """
    if folder.exists():
        raise UserError(f"{folder} exists and is left alone; choose another folder for the export")
    dataset = load_dataset(source)
    with fresh_folder(folder) as place:
        WRITERS[form](place, dataset, step_minutes=step_minutes)
        write_croissant(
            place / "croissant.json",
            dataset,
            name=source.stem,
            files=sorted(path for path in place.rglob("*") if path.is_file()),
            tables=table_columns(place / "series.csv", dataset) if form == "csv" else None,
        )


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; the exit code is 2 after an error that a person can act on."""
    parser = argparse.ArgumentParser(prog="python -m data_preprocess.export", description=__doc__)
    parser.add_argument("source", type=Path, help="a set, .npz")
    parser.add_argument("form", choices=sorted(WRITERS))
    parser.add_argument("folder", type=Path, help="is made")
    parser.add_argument("--step-minutes", type=float, default=60.0, help="between grid points")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        export(given.source, given.form, given.folder, step_minutes=given.step_minutes)
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        log.error("error: %s", message)
        return 2
    log.info("%s written to %s", given.form, given.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
