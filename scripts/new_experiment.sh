#!/usr/bin/env bash
# A config for your own data: looks at a table (.csv, .csv.gz, .parquet; long or wide) or at arrays
# (.npz, .npy, .pkl), says what it understood and what only you can know, and writes the YAML.
# usage: bash scripts/new_experiment.sh TABLE [LABELS] [out=my.yaml] [key=value ...]
#   data.table.label=COLUMN  data.table.id=COLUMN    where names do not tell; also .time .subject
#   data.table.variable=COLUMN data.table.value=COLUMN    of a long table
#   data.window_hours=  data.step_minutes=    the grid, where the proposed one does not suit
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"
source scripts/env.sh
heed_caller
exec "$PYTHON" -m data_preprocess.new_experiment "$@"
