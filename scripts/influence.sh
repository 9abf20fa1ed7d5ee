#!/usr/bin/env bash
# Influence as a tool: ranks the series of any labelled set and tests the prediction.
# usage: bash scripts/influence.sh [config.yaml] [set=split|path] [key=value ...]
set -euo pipefail
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/env.sh
resolve_config "$caller" "$@"
exec "$PYTHON" -m scripts.influence_report ${ARGS[@]+"${ARGS[@]}"}
