"""Entry: your own table -> splits.

    python -m data_preprocess.from_table my.yaml data.table.series=x.csv data.table.labels=y.csv

is `python -m data_preprocess.build` with `data.source=table`; docs/data.md explains the keys.
"""

import dataclasses

from configs.cli import run_stage
from configs.schema.experiment import ExperimentConfig
from data_preprocess import build


def main(config: ExperimentConfig) -> None:
    """Builds the splits from the table that `data.table` describes."""
    build.main(dataclasses.replace(config, data=dataclasses.replace(config.data, source="table")))


if __name__ == "__main__":
    run_stage(main)
