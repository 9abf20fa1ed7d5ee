#!/usr/bin/env bash
# Stage 1: trains the diffusion model (and builds the data set of the config if it is not there).
# usage: bash train.sh [config.yaml] [key=value ...]
source "$(dirname "${BASH_SOURCE[0]}")/scripts/start.sh"
run_entry tardiff.train "$@"
