#!/usr/bin/env bash
# Stage 3: generates a synthetic set, guided by influence unless told otherwise.
# usage: bash generation.sh [config.yaml] [guidance=influence|classifier|none] [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/help.sh"
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/env.sh
resolve_config "$caller" "$@"
exec "$PYTHON" -m configs tardiff.generate ${ARGS[@]+"${ARGS[@]}"}
