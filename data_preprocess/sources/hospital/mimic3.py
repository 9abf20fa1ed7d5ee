"""read_mimic3: the tables of MIMIC-III as PhysioNet ships them -> a cohort on a regular grid."""

from typing import Any

from data_preprocess.sources.hospital.inclusion_criteria import Published
from data_preprocess.sources.hospital.mimic import Release, read_mimic
from data_preprocess.sources.registry import Settings, SourceData, reader
from data_preprocess.storage.cell_text import stamp_sql

PAPER_CHANNELS = (
    "heart_rate",
    "systolic_pressure",
    "diastolic_pressure",
    "mean_pressure",
    "respiratory_rate",
    "temperature",
    "spo2",
)
RELEASE = Release(
    source="mimic3",
    stay_id="icustay_id",
    systems=("carevue", "metavision"),
    # Dates of birth of patients above 89 are shifted back to hide their age; the release's
    # documentation gives no more than "above 89", which 90 stands for.
    age="least(90, epoch(i.intime - p.dob) / (365.2425 * 86400))",
    patient_columns={"dob": stamp_sql},
    mark_columns={"chartevents": "error", "outputevents": "iserror"},
    # TarDiff's numbers equal the cell outputs of TimeDiff's MIMIC-III notebook: MetaVision item
    # ids, every stay with a vital, no rule on age or length of stay.
    published=Published("MIMIC-III v1.4", 61_532, PAPER_CHANNELS, stays=26_150, train=20_920),
)


@reader("mimic3")
def read_mimic3(section: Any, settings: Settings) -> SourceData:
    """The ICU stays of MIMIC-III, to be split by patient.

    The folder holds CHARTEVENTS, ICUSTAYS, PATIENTS, ADMISSIONS (and OUTPUTEVENTS for urine) as
    .csv.gz or .csv. Preset "clinical": adults, first stay, alive in the unit for at least the
    window; time from INTIME; mean per step. "paper": every stay with a MetaVision vital; time from
    the first charted vital; nearest value. Task "mortality" is hospital_expire_flag of the stay's
    own admission, "icustay" longer than `los_days` in the unit.

    Raises:
        ConfigError: no folder is given, a channel is unknown or the step does not fit the window.
        MissingInputError: the folder or a table is not there.
        DataError: a table is damaged or wrong, or no stay is left; names the file.
        UserError: the paper preset on the full release gives other counts than published.
    """
    return read_mimic(RELEASE, section, settings)
