"""read_mimic4: the tables of MIMIC-IV as PhysioNet ships them -> a cohort on a regular grid.

Only tables, columns and ages differ from MIMIC-III; item ids are the MetaVision ones. No MIMIC-IV
data were at hand: tested on made-up tables with the documented columns.
"""

from typing import Any

from data_preprocess.sources.hospital.mimic import Release, read_mimic
from data_preprocess.sources.registry import Settings, SourceData, reader
from data_preprocess.storage.cell_text import number_sql

RELEASE = Release(
    source="mimic4",
    stay_id="stay_id",
    systems=("metavision",),
    # anchor_age is the age in anchor_year; 91 stands for everyone older.
    age="p.anchor_age + year(i.intime) - p.anchor_year",
    patient_columns={"anchor_age": number_sql, "anchor_year": number_sql},
    mark_columns={},  # the release has no error column
)


@reader("mimic4")
def read_mimic4(section: Any, settings: Settings) -> SourceData:
    """The ICU stays of MIMIC-IV, to be split by patient.

    The presets and tasks are those of `read_mimic3`; no counts are published for this release, so
    the paper preset only applies its rules.

    Args:
        section: folder, with `hosp/` and `icu/` below it (or all tables in it), and the other keys
            as configs/schema/data_sources.py explains them.

    Raises:
        UserError: as `read_mimic3`.
    """
    return read_mimic(RELEASE, section, settings)
