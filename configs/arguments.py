"""split_arguments: which argument of a command line is a config, and which is key=value."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from configs.runtime.errors import ConfigError

DEFAULT_CONFIG = Path("configs/base/mimic_icustay_base.yaml")
# A key may end in a name of the user's, as data.table.ranges.SpO2 %=[50,100] does. A slash before
# the first = is of a folder such as site=3.
_KEY = re.compile(r"[A-Za-z_]\w*(\.[^/=]*)?=")


def split_arguments(argv: Sequence[str]) -> tuple[Path, list[str]]:
    """The config path and the overrides among the command-line arguments."""
    overrides = [argument for argument in argv if is_override(argument)]
    for override in overrides:
        require_closed(override)
    paths = [argument for argument in argv if not is_override(argument)]
    for path in paths:
        if not path.endswith((".yaml", ".yml")):
            raise ConfigError(
                f"argument {path!r}: expected a path ending in .yaml or key=value, "
                f"for example diffusion.max_steps=500{nearest_config(path)}"
            )
    if len(paths) > 1:
        raise ConfigError(f"more than one config given: {', '.join(paths)}; expected one")
    return Path(paths[0]) if paths else DEFAULT_CONFIG, overrides


def is_override(argument: str) -> bool:
    """Whether an argument is key=value; else it names a file: data/site=3/a.csv, ./site=3.csv."""
    return _KEY.match(argument) is not None


def require_closed(override: str) -> None:
    """Refuses key=value whose list or mapping the shell has cut at a space."""
    key, _, value = override.partition("=")
    for opening, closing, example in (("[", "]", "[a, b]"), ("{", "}", "{a: [0, 1]}")):
        if value.startswith(opening) and not value.endswith(closing):
            raise ConfigError(
                f"argument {override!r} does not end in {closing}: a value with spaces needs "
                f"quotes, for example '{key}={example}'"
            )


def known_configs(*folders: Path) -> list[Path]:
    """The YAML files in some folders."""
    return sorted(path for folder in folders for path in folder.glob("*.y*ml"))


def nearest_config(name: str) -> str:
    """The config that a misspelt name may have meant, as the end of a message."""
    known = {path.stem: path for path in known_configs(DEFAULT_CONFIG.parent, Path(name).parent)}
    near = difflib.get_close_matches(Path(name).stem, known, n=1)
    return f"; did you mean {known[near[0]]}?" if near else ""
