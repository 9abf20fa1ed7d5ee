#!/usr/bin/env bash
# Guidance beside every baseline on one data split: trains, tunes, generates and evaluates all of them.
# What is finished already is kept. Results: runs/<experiment>/matrix.
# usage: bash scripts/matrix.sh [config.yaml] [tuning.w=[-0.5,0,0.5]] [key=value ...]
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"
run_entry scripts.matrix "$@"
