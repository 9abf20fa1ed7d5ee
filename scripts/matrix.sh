#!/usr/bin/env bash
# Guidance beside every baseline on one data split: trains, tunes, generates and evaluates all of them.
# What is finished already is kept. Results: runs/<experiment>/matrix.
# usage: bash scripts/matrix.sh [config.yaml] [tuning.w=[-0.5,0,0.5]] [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/env.sh
resolve_config "$caller" "$@"
exec "$PYTHON" -m configs scripts.matrix ${ARGS[@]+"${ARGS[@]}"}
