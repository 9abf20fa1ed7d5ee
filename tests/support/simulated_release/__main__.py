"""Raw simulator: a made-up cohort as the tables of MIMIC-III or eICU, with the known truth beside.

    python -m tests.support.simulated_release --format mimic3 --out DIR --stays 500 --seed 0

writes the release's tables as .csv.gz, `truth.npz` (what a correct extraction of the clinical
preset with a 24 h window returns) and `faults.json` (how many faults of each kind it must meet).
`--rows` pads the chart with rows of other items to any size; memory does not grow with it.
"""

import argparse
import json
import logging
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from configs.runtime.atomic_files import atomic_path, write_text
from tests.support.simulated_release import eicu as raw_eicu
from tests.support.simulated_release import mimic3 as raw_mimic3
from tests.support.simulated_release.charting import CHANNELS, count_faults
from tests.support.simulated_release.stays import LONG_STAY_HOURS, simulate_stays
from tests.support.simulated_release.writer import TableWriter

FORMATS = {"mimic3": raw_mimic3, "eicu": raw_eicu}
CHART_FILES = {"mimic3": "CHARTEVENTS.csv.gz", "eicu": "vitalPeriodic.csv.gz"}
_CHUNK = {"mimic3": 256, "eicu": 64}  # stays whose rows are in memory at one time
_LOG = logging.getLogger(__name__)


def simulate_raw(
    out: Path, *, layout: str, num_stays: int, seed: int, num_rows: int = 0
) -> dict[str, int]:
    """Writes the tables, truth.npz and faults.json to `out`; returns the fault counts.

    Args:
        layout: "mimic3" or "eicu".
        num_rows: at least this many rows in the chart table; 0: vital signs and a few others.
    """
    release = FORMATS[layout]
    stays = simulate_stays(num_stays, seed)
    release.write_stay_tables(out, stays)
    faults: Counter[str] = Counter()
    truths, written = [], 0
    starts = range(0, num_stays, _CHUNK[layout])
    path = out / CHART_FILES[layout]
    with TableWriter(path, release.CHART_COLUMNS, _quoted_columns(layout)) as table:
        for number, start in enumerate(tqdm(starts, desc=path.name, unit="chunk", disable=None)):
            rng = np.random.default_rng([seed, 1, number])
            rows = np.arange(start, min(start + _CHUNK[layout], num_stays))
            truth, readings = release.charting(rng, stays, rows)
            share = num_rows * (start + len(rows)) // num_stays
            other = max(len(rows) * 20, share - written - len(readings))
            written += release.append_chart(table, rng, stays, rows, readings, other, written)
            found = count_faults(readings, stays, release.STEPS * release.STEP_SECONDS)
            found["fraction/spo2"] = found.pop("slip/spo2", 0)
            found.pop("slip/temperature", None)
            faults.update(found | release.slip_counts(stays, readings))
            truths.append(truth[stays.eligible[rows]].astype(np.float32))
    order = np.argsort(stays.stay[stays.eligible])
    with atomic_path(out / "truth.npz") as temporary:
        np.savez_compressed(
            temporary,
            stay_ids=stays.stay[stays.eligible][order],
            values=np.concatenate(truths)[order],
            channels=np.array(CHANNELS),
            died=stays.died[stays.eligible][order],
            long_stay=stays.hours[stays.eligible][order] > LONG_STAY_HOURS,
        )
    record = {"faults": dict(sorted(faults.items())), "removed": stays.removed(), "rows": written}
    write_text(out / "faults.json", json.dumps(record, indent=1) + "\n")
    return dict(faults)


def _quoted_columns(layout: str) -> list[str]:
    return ["value", "valueuom"] if layout == "mimic3" else []


def main(argv: list[str]) -> None:
    """Reads the command line and writes the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.simulated_release")
    parser.add_argument("--format", choices=sorted(FORMATS), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stays", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=0, help="size of the chart table, rows")
    given = parser.parse_args(argv)
    if given.stays < 1 or given.rows < 0:
        parser.error("--stays must be at least 1 and --rows at least 0")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    simulate_raw(
        given.out,
        layout=given.format,
        num_stays=given.stays,
        seed=given.seed,
        num_rows=given.rows,
    )
    _LOG.info("wrote %s: tables, truth.npz, faults.json", given.out)


if __name__ == "__main__":
    main(sys.argv[1:])
