# Sourced by mimic3.sh, mimic4.sh and eicu.sh: options -> config and dotted overrides of build.py.
source=$1
shift
usage() {
    sed -n '2,5s/^# \{0,1\}//p' "data_preprocess/$source.sh" >&2
    exit 2
}
task=icustay
folder=
overrides=()
while [ $# -gt 0 ]; do
    case $1 in
        --task | --preset | --memory-limit | --threads)
            [ $# -ge 2 ] || { echo "error: $1 needs a value" >&2; usage; } ;;
    esac
    case $1 in
        --task) task=$2; shift ;;
        --preset) overrides+=("data.$source.preset=$2"); shift ;;
        --memory-limit) overrides+=("data.memory_limit=$2"); shift ;;
        --threads) overrides+=("data.threads=$2"); shift ;;
        --rebuild) overrides+=("data.rebuild=true") ;;
        -*) echo "error: unknown option $1" >&2; usage ;;
        *) if [[ $1 =~ ^[A-Za-z_][A-Za-z0-9_]*(\.[^/=]*)?= ]]; then overrides+=("$1")  # configs/arguments.py
           elif [ -z "$folder" ]; then folder=$1
           else echo "error: two folders: $folder and $1" >&2; usage; fi ;;
    esac
    shift
done
[ -n "$folder" ] || { echo "error: which folder holds the tables?" >&2; usage; }
case $folder in /*) ;; *) folder=$caller/${folder#./} ;; esac
case $source-$task in
    mimic3-icustay) config=configs/base/mimic_icustay_base.yaml ;;
    mimic3-mortality) config=configs/base/mimic_mortality.yaml ;;
    *-icustay | *-mortality) config=configs/base/${source}_$task.yaml ;;
    *) echo "error: --task $task: expected mortality or icustay" >&2; usage ;;
esac
. scripts/env.sh
heed_caller
kept=()
for override in ${overrides[@]+"${overrides[@]}"}; do
    case $override in
        data.memory_limit=* | data.threads=* | data.rebuild=*) ;;
        *) kept+=("$(printf %q "$override")") ;;  # so that it can be pasted
    esac
done
next=train.sh
[ "$caller" = "$PWD" ] || next=$(printf %q "$PWD/train.sh")
echo "when it is built, next: bash $next $config ${kept[*]+"${kept[*]}"}"
exec "$PYTHON" -m data_preprocess.build "$PWD/$config" "data.$source.folder=$folder" ${overrides[@]+"${overrides[@]}"}
