#!/usr/bin/env bash
# eICU -> splits, normaliser and data card, in bounded memory.
#     bash data_preprocess/eicu.sh FOLDER [--task icustay|mortality] [--preset clinical|paper]
#         [--memory-limit 1GB] [--threads N] [--rebuild] [key=value ...]     (defaults first)
# FOLDER holds the tables as PhysioNet ships them (.csv.gz or .csv; full release or demo).
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/start.sh"
source data_preprocess/raw_release.sh eicu "$@"
