"""The sources: `data.source` -> its reader. A reader registers itself in its own file.

    @reader("mine")
    def read_mine(section: Any, settings: Settings) -> SourceData: ...

stands in any file below this folder, the keys of `data.mine` in configs/schema/data_sources.py.
A reader takes the values of its own section as one object (`section.folder` is `data.mine.folder`)
and what all sources share as `Settings`.
"""

import importlib
import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import data_preprocess.sources
from configs.runtime.errors import ConfigError
from data_preprocess.cohort import Cohort


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The keys of `data` that sources share.

    Attributes:
        task: "mortality" (death in hospital) or "icustay" (stay longer than `los_days`).
        window_hours, step_minutes: length and spacing of the grid.
        seed: of simulated data.
        memory_limit: of DuckDB, such as "1GB"; threads: of DuckDB, 0 for one per core.
    """

    task: str = "mortality"
    los_days: float = 3.0
    window_hours: float = 24.0
    step_minutes: float = 60.0
    seed: int = 0
    memory_limit: str = "1GB"
    threads: int = 0

    @property
    def num_steps(self) -> int:
        """Grid points of the window.

        Raises:
            ConfigError: the step does not divide the window.
        """
        steps = self.window_hours * 60 / self.step_minutes
        if abs(steps - round(steps)) > 1e-6 or round(steps) < 1:
            raise ConfigError(
                f"data.step_minutes={self.step_minutes:g} does not divide the window of "
                f"{self.window_hours:g} h"
            )
        return round(steps)


class SourceData(NamedTuple):
    """What a reader returns: the stays to be split, and the source's own test and validation sets.

    `files` are the files and folders that were read; their content is kept in the build's record.
    """

    pool: Cohort
    test: Cohort | None = None
    val: Cohort | None = None
    files: tuple[Path, ...] = ()

    def cohorts(self) -> dict[str, Cohort]:
        """The cohorts that are there, by name."""
        every = {"pool": self.pool, "test": self.test, "val": self.val}
        return {name: cohort for name, cohort in every.items() if cohort is not None}


Reader = Callable[[Any, Settings], SourceData]
READERS: dict[str, Reader] = {}


def reader(source: str) -> Callable[[Reader], Reader]:
    """Registers the decorated function as the reader of `data.source=<source>`."""

    def register(function: Reader) -> Reader:
        READERS[source] = function
        return function

    return register


def read_source(source: str, section: Any, settings: Settings) -> SourceData:
    """The cohort(s) of `source`.

    Args:
        section: the values of `data.<source>`.

    Raises:
        ConfigError: no reader has registered under this name.
        UserError: what the reader raises about its input.
    """
    for module in pkgutil.walk_packages(
        data_preprocess.sources.__path__, "data_preprocess.sources."
    ):
        importlib.import_module(module.name)
    if source not in READERS:
        raise ConfigError(
            f"data.source={source}: no reader registers under this name; there are "
            f"{', '.join(sorted(READERS))}"
        )
    return READERS[source](section, settings)


def require_folder(folder: str | None, source: str) -> Path:
    """The folder of the raw data of a source.

    Raises:
        ConfigError: it is not set; says how to.
    """
    if folder is None:
        raise ConfigError(
            f"data.{source}.folder is not set: where are the raw data? Give "
            f"data.{source}.folder=/path/to/the/release"
        )
    return Path(folder)


def require_window(steps: int, settings: Settings, of_steps: str) -> None:
    """For series that come with their length, of which nothing is cut.

    Args:
        steps: grid points of a series; of_steps: what they are, for the message.

    Raises:
        ConfigError: a window was asked for (is not the default), and theirs is another.
    """
    hours, asked = steps * settings.step_minutes / 60, settings.window_hours
    if asked != Settings.window_hours and not math.isclose(asked, hours, rel_tol=1e-6):
        raise ConfigError(
            f"data.window_hours={asked:g}: the series last {of_steps} x data.step_minutes = "
            f"{hours:g} h, and nothing is cut; leave data.window_hours out, or correct the others"
        )
