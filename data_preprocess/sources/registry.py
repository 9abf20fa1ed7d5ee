"""The registry of sources: `data.source` -> the function that reads it.

A reader takes plain keyword arguments and returns `(pool, test)` or `(pool, test, val)`: the stays
to be split, and the source's own test and validation cohorts or None. It is called with the fields
of the config section of its own name (`data.physionet2012.folder` -> `folder=`) and with those of
the shared settings below that it has a parameter for. Readers are imported only when chosen.
"""

import dataclasses
import inspect
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from configs.runtime.errors import UserError
from configs.schema.experiment import DataConfig
from data_preprocess.cohort import Cohort

READERS = {
    "simulated": "data_preprocess.sources.simulated.cohort:read_simulated",
    "physionet2012": "data_preprocess.sources.physionet2012.reader:read_physionet2012",
    "files": "data_preprocess.sources.arrays:read_files",
    "mimic3": "data_preprocess.sources.hospital.mimic3:read_mimic3",
    "mimic4": "data_preprocess.sources.hospital.mimic4:read_mimic4",
    "eicu": "data_preprocess.sources.hospital.eicu:read_eicu",
    "table": "data_preprocess.from_table:read_table",
    "medformer": "data_preprocess.sources.medformer:read_medformer",
    "ptb": "data_preprocess.sources.ptb:read_ptb",
}
SHARED = (
    "task",
    "los_days",
    "window_hours",
    "step_minutes",
    "seed",
    "memory_limit",
    "threads",
)


class SourceData(NamedTuple):
    """What a reader returns."""

    pool: Cohort
    test: Cohort | None = None
    val: Cohort | None = None


def read_source(data: DataConfig) -> SourceData:
    """The cohort(s) of the source that `data.source` names.

    Raises:
        UserError: the source has no reader or no config section in this version, or what the
            reader raises about its input.
    """
    path = READERS[data.source]
    section = getattr(data, data.source, None)
    module, function = path.split(":")
    try:
        reader = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise  # a dependency of the reader, not the reader itself
        raise _absent(data.source) from error
    if section is None:
        raise _absent(data.source)
    wanted = inspect.signature(reader).parameters
    shared = {name: getattr(data, name) for name in SHARED if name in wanted}
    arguments: dict[str, Any] = {
        field.name: getattr(section, field.name) for field in dataclasses.fields(section)
    }
    return SourceData(*reader(**(shared | arguments)))


def _absent(source: str) -> UserError:
    here = [name for name in READERS if find_spec(READERS[name].split(":")[0])]
    return UserError(
        f"data.source={source}: this version has no reader for it; available: {', '.join(here)}"
    )
