"""read_mimic4: the tables of MIMIC-IV as PhysioNet ships them -> a cohort on a regular grid.

Only tables, columns and ages differ from MIMIC-III; item ids are the MetaVision ones. No MIMIC-IV
data were at hand: tested on made-up tables with the documented columns.
"""

from data_preprocess.cohort import Cohort
from data_preprocess.sources.hospital.extraction_request import Request, Task, require_folder
from data_preprocess.sources.hospital.mimic import Release, read_mimic

RELEASE = Release(
    name="MIMIC-IV",
    subfolders=(".", "icu", "hosp"),
    stay_id="stay_id",
    systems=("metavision",),
    # anchor_age is the age in anchor_year; 91 stands for everyone older.
    age="p.anchor_age::DOUBLE + year(i.intime::TIMESTAMP) - p.anchor_year::INTEGER",
    patient_columns=("anchor_age", "anchor_year"),
    value_columns={"chartevents": "valuenum", "outputevents": "value"},
    mark_columns={"chartevents": "", "outputevents": ""},  # the release has no error column
    full_stays=None,
    paper_stays=None,
    paper_train=None,
    paper_systems=("metavision",),
)


def read_mimic4(
    *,
    folder: str | None,
    preset: str,
    channels: list[str],
    allow_other_counts: bool,
    memory_limit: str,
    threads: int,
    task: str,
    los_days: float,
    window_hours: float,
    step_minutes: float,
) -> tuple[Cohort, None]:
    """The ICU stays of MIMIC-IV, to be split by patient.

    Args:
        folder: the release's folder, with `hosp/` and `icu/` below it (or all tables in it).

    The other arguments and the errors are those of `read_mimic3`; no counts are published for
    this release, so the paper preset only applies its rules.
    """
    return read_mimic(
        RELEASE,
        Request(
            folder=require_folder(folder, "mimic4"),
            preset=preset,
            channels=channels,
            task=Task(task, los_days),
            window_hours=window_hours,
            step_minutes=step_minutes,
            allow_other_counts=allow_other_counts,
            memory_limit=memory_limit,
            threads=threads,
        ),
    )
