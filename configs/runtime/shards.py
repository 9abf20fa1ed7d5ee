"""Shares of one run that several processes split: i/n from a config or from the launcher."""

import os
import re

from configs.runtime.errors import ConfigError

# (rank, number of ranks) as torchrun and srun tell every process they start.
LAUNCHERS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


def share(key: str, text: str | None) -> tuple[int, int]:
    """The (i, n) of the config key's value "i/n" or "auto"; (0, 1) for None.

    Raises:
        ConfigError: not of the form i/n with 0 <= i < n, or auto without a launcher.
    """
    if text is None:
        return 0, 1
    if text == "auto":
        return _launched(key)
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if match is None or not int(match[1]) < int(match[2]):
        raise ConfigError(f"{key}={text!r}: expected auto or i/n with 0 <= i < n, e.g. 0/4")
    return int(match[1]), int(match[2])


def _launched(key: str) -> tuple[int, int]:
    for names in LAUNCHERS:
        values = [os.environ.get(name, "") for name in names]
        if all(value.isdecimal() for value in values) and int(values[0]) < int(values[1]):
            return int(values[0]), int(values[1])
    raise ConfigError(
        f"{key}=auto: no launcher has numbered this process (RANK and WORLD_SIZE of torchrun, or "
        "SLURM_PROCID and SLURM_NTASKS of srun, are not set); give i/n yourself, e.g. 0/4"
    )
