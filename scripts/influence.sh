#!/usr/bin/env bash
# Influence as a tool: ranks the series of any labelled set and tests the prediction.
# lds=true: does influence predict retraining of a downstream model here? Minutes; stage 3 heeds it.
# usage: bash scripts/influence.sh [config.yaml] [set=split|path] [lds=true] [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/env.sh
resolve_config "$caller" "$@"
exec "$PYTHON" -m configs scripts.influence_report.__main__ ${ARGS[@]+"${ARGS[@]}"}
