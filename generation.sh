#!/usr/bin/env bash
# Stage 3: generates a synthetic set, guided by influence unless told otherwise.
# usage: bash generation.sh [config.yaml] [guidance=influence|classifier|none] [key=value ...]
source "$(dirname "${BASH_SOURCE[0]}")/scripts/start.sh"
run_entry tardiff.generate "$@"
