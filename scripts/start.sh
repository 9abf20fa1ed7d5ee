# Sourced first by every shell script of the project, with its arguments: prints the head of the script
# and ends if one asks for help; else notes where the user stands and goes to the repository root.
set -euo pipefail
for argument in "$@"; do
    case $argument in
        -h | --help)
            sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[1]}"
            echo
            echo "A config names what differs from the defaults; configs/base/ has examples, README.md the"
            echo "stages, docs/data.md the data sources, configs/schema/ every key with its bounds."
            echo "On the command line key=value wins, e.g. diffusion.max_steps=5000 evaluation.seeds=[0,1]"
            echo "From another folder: ./x and ../x are there, and so is a file x that exists there; any other"
            echo "relative path, such as runs_dir=out, is in the repository."
            exit 0
            ;;
    esac
done
caller=${TARDIFF_CALLER:-$PWD}  # of the script that the user called, if it was another
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# heed_caller: paths in arguments are meant from where the user stands (configs/arguments.py), also in
# scripts that are called from here. Says what the paths that are printed are relative to.
heed_caller() {
    if [ -z "${TARDIFF_CALLER:-}" ] && [ "$caller" != "$PWD" ]; then
        echo "(started in $caller; paths below are relative to $PWD)" >&2
    fi
    export TARDIFF_CALLER=$caller
}

# run_entry MODULE ARG...: runs an entry with the user's arguments, in the environment that there is.
run_entry() {
    local module=$1
    shift
    source scripts/env.sh
    heed_caller
    exec "$PYTHON" -m configs "$module" "$@"
}
