"""export: a set of series, synthetic or real, in the form that another tool reads.

    python -m data_preprocess.export runs/demo/synthetic/guided.npz meds out/ [--step-minutes 60]

`yaib` writes the trio dyn, sta and outc (YAIB, ricu, OpenICU), `meds` a MEDS 0.4 folder with
labels, `csv` the long table. Each folder gets a `croissant.json`; nothing is left of an export that
fails.
"""

import argparse
import json
import logging
import shlex
import sys
from pathlib import Path

from configs.cli import guarded, log_to_stdout
from data_preprocess.export.writers import WRITERS, export

log = logging.getLogger("tardiff.export")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; the exit code is 2 after an error that a person can act on."""
    parser = argparse.ArgumentParser(
        prog="python -m data_preprocess.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="a set, .npz")
    parser.add_argument("form", choices=sorted(WRITERS))
    parser.add_argument("folder", type=Path, help="is made")
    parser.add_argument(
        "--step-minutes", type=float, default=60.0, help="between grid points (default: 60)"
    )
    parser.add_argument("--split", help="meds only: train (default), tuning or held_out")
    given = parser.parse_args(arguments)
    log_to_stdout()

    def work() -> None:
        options = {"step_minutes": given.step_minutes, "split": given.split}
        names = export(given.source, given.form, given.folder, **options)
        log.info(
            "%s written to %s, with %g minutes between grid points (--step-minutes)",
            given.form,
            given.folder,
            given.step_minutes,
        )
        if given.form == "csv":  # a table does not say its order, nor what is a covariate
            keys = {
                "classes": names.label_names,
                "channels": names.feature_names,
                "static": names.static_names,
            }
            arguments = (
                shlex.quote(f"data.table.{key}={json.dumps(them, ensure_ascii=False)}")
                for key, them in keys.items()
                if them
            )
            log.info("read back in the same order with %s", " ".join(arguments))

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main())
