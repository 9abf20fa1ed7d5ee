#!/usr/bin/env bash
# Stage 4: evaluates the synthetic sets of an experiment (or synthetic=path) on real test stays.
# usage: bash evaluate.sh [config.yaml] [key=value ...]
source "$(dirname "${BASH_SOURCE[0]}")/scripts/start.sh"
run_entry scripts.evaluate "$@"
