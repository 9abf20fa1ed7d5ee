#!/usr/bin/env bash
# Chooses the guidance strength on val_select and draws influence and AUROC against it.
# Stages 1 and 2 must have run.
# usage: bash scripts/tune.sh [config.yaml] [tuning.w=[-0.5,0,0.5]] [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/env.sh
resolve_config "$caller" "$@"
exec "$PYTHON" -m configs scripts.tune ${ARGS[@]+"${ARGS[@]}"}
