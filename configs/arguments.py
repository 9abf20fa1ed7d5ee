"""split_arguments: which argument of a command line is a config, and which is key=value; and
from_caller: which folder a path among them means."""

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from configs.runtime.errors import ConfigError

CALLER = "TARDIFF_CALLER"  # the folder where the user stands, noted by scripts/start.sh
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
    path = from_caller(paths[0], there=True) if paths else DEFAULT_CONFIG
    return Path(path), overrides


def from_caller(path: str, *, there: bool = False) -> str:
    """What the path in an argument means, where the user called a script from another folder.

    ./x and ../x are where the user stands, and so is a file x that exists there; any other x is in
    the repository. A word without a dot or a slash, such as a set's name, stays a word.

    Args:
        there: what exists in neither folder was meant to be where the user stands.
    """
    caller = os.environ.get(CALLER)
    if not caller or os.path.realpath(caller) == os.getcwd() or not re.search("[./]", path):
        return path
    in_caller = Path(caller, path)
    meant = path.startswith(("./", "../")) or in_caller.exists()
    return str(in_caller) if meant or (there and not Path(path).exists()) else path


def is_override(argument: str) -> bool:
    """Whether an argument is key=value; else it names a file: data/site=3/a.csv, ./site=3.csv."""
    return _KEY.match(argument) is not None


def require_closed(override: str) -> None:
    """Refuses key=value whose list or mapping the shell has cut at a space, and a mapping that was
    written without spaces."""
    key, _, value = override.partition("=")
    for opening, closing, example in (("[", "]", "[a, b]"), ("{", "}", "{a: [0, 1]}")):
        if value.startswith(opening) and not value.endswith(closing):
            raise ConfigError(
                f"argument {override!r} does not end in {closing}: a value with spaces needs "
                f"quotes, for example '{key}={example}'"
            )
    if value.startswith("{") and ":" in value and not re.search("[\"']:|: ", value):
        raise ConfigError(
            f"argument {override!r}: a colon of a mapping needs a space behind it, and the whole "
            f"quotes, for example '{key}={{a: [0, 1]}}'"
        )


def known_configs(*folders: Path) -> list[Path]:
    """The YAML files in some folders."""
    return sorted(path for folder in folders for path in folder.glob("*.y*ml"))


def nearest_config(name: str) -> str:
    """The config that a misspelt name may have meant, as the end of a message."""
    known = {path.stem: path for path in known_configs(DEFAULT_CONFIG.parent, Path(name).parent)}
    near = difflib.get_close_matches(Path(name).stem, known, n=1)
    return f"; did you mean {known[near[0]]}?" if near else ""
