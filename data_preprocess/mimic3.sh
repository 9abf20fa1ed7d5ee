#!/usr/bin/env bash
# MIMIC-III -> splits, normaliser and data card, in bounded memory.
#     bash data_preprocess/mimic3.sh FOLDER [--task mortality|icustay] [--preset clinical|paper]
#         [--memory-limit 1GB] [--threads N] [--rebuild] [key=value ...]
# FOLDER holds the tables as PhysioNet ships them (.csv.gz or .csv; full release or demo).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec bash "$here/raw_release.sh" mimic3 "$@"
