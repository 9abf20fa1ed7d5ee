#!/usr/bin/env bash
# Stage 4: evaluates the synthetic sets of an experiment (or synthetic=path) on real test stays.
# usage: bash evaluate.sh [config.yaml] [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/help.sh"
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/env.sh
resolve_config "$caller" "$@"
exec "$PYTHON" -m configs scripts.evaluate ${ARGS[@]+"${ARGS[@]}"}
