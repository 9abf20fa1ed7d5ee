#!/usr/bin/env bash
# Stage 2: trains the task classifier (and builds the data set of the config if it is not there).
# usage: bash classifier/train.sh [config.yaml] [key=value ...]     from the repository root, or
#        bash train.sh [config.yaml] [key=value ...]                from inside classifier/
# The config is looked for where you are, then in the repository root.
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/start.sh"
run_entry classifier.train "$@"
