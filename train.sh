#!/usr/bin/env bash
# Stage 1: trains the diffusion model (and builds the data set of the config if it is not there).
# usage: bash train.sh [config.yaml] [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/help.sh"
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/env.sh
resolve_config "$caller" "$@"
exec "$PYTHON" -m configs tardiff.train ${ARGS[@]+"${ARGS[@]}"}
