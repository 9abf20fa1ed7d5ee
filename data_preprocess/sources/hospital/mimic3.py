"""read_mimic3: the tables of MIMIC-III as PhysioNet ships them -> a cohort on a regular grid."""

from data_preprocess.cohort import Cohort
from data_preprocess.sources.hospital.extraction_request import Request, Task, require_folder
from data_preprocess.sources.hospital.mimic import Release, read_mimic

RELEASE = Release(
    name="MIMIC-III v1.4",
    subfolders=(".",),
    stay_id="icustay_id",
    systems=("carevue", "metavision"),
    # Dates of birth of patients above 89 are shifted back to hide their age; the release's
    # documentation gives no more than "above 89", which 90 stands for.
    age="least(90, epoch(i.intime::TIMESTAMP - p.dob::TIMESTAMP) / (365.2425 * 86400))",
    patient_columns=("dob",),
    value_columns={"chartevents": "valuenum", "outputevents": "value"},
    mark_columns={"chartevents": "error", "outputevents": "iserror"},
    full_stays=61_532,
    # TarDiff's numbers equal the cell outputs of TimeDiff's MIMIC-III notebook: MetaVision item
    # ids, every stay with a vital, no rule on age or length of stay.
    paper_stays=26_150,
    paper_train=20_920,
    paper_systems=("metavision",),
)


def read_mimic3(
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
    """The ICU stays of MIMIC-III, to be split by patient.

    Args:
        folder: holds CHARTEVENTS, ICUSTAYS, PATIENTS, ADMISSIONS (and OUTPUTEVENTS for urine) as
            .csv.gz or .csv.
        preset: "clinical" (adults, first stay, at least the window in the unit; time from INTIME;
            mean per step) or "paper" (every stay with a MetaVision vital; time from the first
            charted vital; nearest value).
        channels: names in variables.yaml.
        allow_other_counts: let the paper preset go on if the full release gives other counts.
        memory_limit: of DuckDB, e.g. "1GB".
        threads: 0 for one per core.
        task: "mortality" (hospital_expire_flag of the stay's own admission) or "icustay" (longer
            than `los_days` in the unit).
        window_hours, step_minutes: the grid.

    Raises:
        ConfigError: no folder is given, a channel is unknown or the step does not fit the window.
        MissingInputError: the folder or a table is not there.
        DataError: a table is damaged or wrong, or no stay is left; names the file.
        UserError: the paper preset on the full release gives other counts than published.
    """
    return read_mimic(
        RELEASE,
        Request(
            folder=require_folder(folder, "mimic3"),
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
