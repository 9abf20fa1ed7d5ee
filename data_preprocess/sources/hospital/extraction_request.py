"""Request: what is asked of a raw release - preset, task, channels, window, resources."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.runtime.errors import ConfigError
from data_preprocess.sources.hospital.resample import Grid


@dataclass(frozen=True)
class Task:
    """What is predicted.

    Attributes:
        name: "mortality" (death in hospital, by the stay's own admission) or "icustay" (stay
            longer than `los_days`).
        los_days: threshold of the second task, days.
    """

    name: str
    los_days: float

    @property
    def label_names(self) -> tuple[str, ...]:
        """One name per class."""
        if self.name == "mortality":
            return ("survived", "died")
        return (f"stay <= {self.los_days:g} days", f"stay > {self.los_days:g} days")

    @property
    def label_sql(self) -> str:
        """The label as an SQL expression over `stays`."""
        return "died" if self.name == "mortality" else f"(hours > {self.los_days * 24})::INTEGER"


def require_folder(folder: str | None, source: str) -> Path:
    """The raw folder of a source.

    Raises:
        ConfigError: it is not set; says how to.
    """
    if folder is None:
        raise ConfigError(
            f"data.{source}.folder is not set: where are the raw tables? Give "
            f"data.{source}.folder=/path/to/the/release"
        )
    return Path(folder)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the readers of raw releases are asked for; fields as `read_mimic3` documents them."""

    folder: Path
    preset: str
    channels: Sequence[str]
    task: Task
    window_hours: float
    step_minutes: float
    allow_other_counts: bool
    memory_limit: str
    threads: int

    @property
    def is_paper(self) -> bool:
        """Whether the cohort behind the published numbers is wanted."""
        return self.preset == "paper"

    def grid(self) -> Grid:
        """The time grid; the paper preset takes the nearest charted value.

        Raises:
            ConfigError: the step does not divide the window.
        """
        steps = self.window_hours * 60 / self.step_minutes
        if abs(steps - round(steps)) > 1e-9:
            raise ConfigError(
                f"data.step_minutes={self.step_minutes:g} does not divide the window of "
                f"{self.window_hours:g} h"
            )
        return Grid(round(steps), self.step_minutes * 60, "nearest" if self.is_paper else "mean")
