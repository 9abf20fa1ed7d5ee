# Sourced by every shell script of the project before it changes folder or needs anything: prints the
# head of the script and ends if an argument asks for help.
for argument in "$@"; do
    case $argument in
        -h | --help)
            sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[1]}"
            echo
            echo "A config names what differs from the defaults; configs/base/ has examples, README.md the"
            echo "stages, docs/data.md the data sources, configs/schema/ every key with its bounds."
            echo "On the command line key=value wins, e.g. diffusion.max_steps=5000 evaluation.seeds=[0,1]"
            exit 0
            ;;
    esac
done
