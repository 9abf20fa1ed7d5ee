"""Request: what is asked of a raw release - preset, task, channels, window, resources."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_preprocess.sources.hospital.resample import Grid
from data_preprocess.sources.registry import Settings, require_folder


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


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the readers of raw releases are asked for.

    Attributes:
        folder: of the release.
        preset: "clinical" or "paper"; docs/data.md compares them.
        channels: names in variables.yaml.
        allow_other_counts: let the paper preset go on if the full release gives other counts.
        settings: task, grid and resources.
    """

    folder: Path
    preset: str
    channels: Sequence[str]
    allow_other_counts: bool
    settings: Settings

    @classmethod
    def of(cls, section: Any, settings: Settings, source: str) -> "Request":
        """The request that the section `data.<source>` makes.

        Raises:
            ConfigError: no folder is given.
        """
        return cls(
            folder=require_folder(section.folder, source),
            preset=section.preset,
            channels=section.channels,
            allow_other_counts=section.allow_other_counts,
            settings=settings,
        )

    @property
    def is_paper(self) -> bool:
        """Whether the cohort behind the published numbers is wanted."""
        return self.preset == "paper"

    @property
    def task(self) -> Task:
        """What is predicted."""
        return Task(self.settings.task, self.settings.los_days)

    @property
    def window_hours(self) -> float:
        """Length of the window."""
        return self.settings.window_hours

    def grid(self) -> Grid:
        """The time grid; the paper preset takes the nearest charted value.

        Raises:
            ConfigError: the step does not divide the window.
        """
        pick = "nearest" if self.is_paper else "mean"
        return Grid(self.settings.num_steps, self.settings.step_minutes * 60, pick)
