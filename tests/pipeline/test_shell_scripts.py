"""The shell scripts: syntax, --help, calls without arguments, and calls from another folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ALL = sorted(
    p
    for place in (".", "scripts", "classifier", "data_preprocess")
    for p in (ROOT / place).glob("*.sh")
)
SOURCED = ("env.sh", "start.sh", "make_env.sh", "raw_release.sh")
CALLED = [path for path in ALL if path.name not in SOURCED]


def bash(*arguments, cwd=ROOT, **more):
    environment = os.environ | {"PYTHON": sys.executable}
    return subprocess.run(
        ["bash", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        **more,
    )


def name(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", ALL, ids=name)
def test_syntax(path):
    assert bash("-n", path).returncode == 0


@pytest.mark.parametrize("path", CALLED, ids=name)
def test_help_says_how_it_is_called(path, tmp_path):
    found = bash(path, "--help", cwd=tmp_path)
    assert found.returncode == 0 and not found.stderr
    assert f"bash {name(path)}" in found.stdout
    assert len(found.stdout.splitlines()) < 25


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("train.sh", "which needs MIMIC-III.\nTry the demo, which needs nothing"),
        ("scripts/new_experiment.sh", "0 files given; expected a table"),
        ("scripts/reproduce.sh", "expected one of table1"),
        ("data_preprocess/mimic3.sh", "which folder holds the tables?"),
    ],
)
def test_without_arguments_one_message_says_what_to_do(script, says):
    found = bash(script)
    assert found.returncode == 2
    assert says in found.stdout + found.stderr and "Traceback" not in found.stderr


def test_the_config_of_own_data_is_written_where_the_user_stands(tmp_path):
    (tmp_path / "x.csv").touch()
    found = bash(ROOT / "scripts/new_experiment.sh", "x.csv", "out=mine.txt", cwd=tmp_path)
    assert f"out={tmp_path}/mine.txt: a config ends in .yaml" in found.stdout


def test_a_raw_release_is_built_where_the_user_stands_and_the_next_command_can_be_pasted(tmp_path):
    stub = tmp_path / "python"
    stub.write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
    stub.chmod(0o755)
    command = f"PYTHON={stub} bash {ROOT}/data_preprocess/eicu.sh ./site=3 'data.dir=./my data'"
    found = bash("-c", command, cwd=tmp_path, check=True).stdout
    following, built = found.removeprefix("when it is built, next: bash ").split("\n")
    assert f"<data.eicu.folder={tmp_path}/site=3><data.dir={tmp_path}/my data>" in built
    words = bash("-c", f'printf "<%s>" {following}', check=True).stdout
    assert words == f"<train.sh><configs/base/eicu_icustay.yaml><data.dir={tmp_path}/my data>"


def test_the_build_of_a_raw_release_is_the_process_that_was_started(tmp_path):
    """Else a signal to the script, as of `timeout` or a scheduler, leaves the build running."""
    stub = tmp_path / "python"
    stub.write_text("#!/bin/sh\necho pid $$\n")
    stub.chmod(0o755)
    command = ["bash", ROOT / "data_preprocess/mimic3.sh", "raw"]
    environment = os.environ | {"PYTHON": str(stub)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as started:
        assert started.communicate()[0].splitlines()[-1] == f"pid {started.pid}"


def resolved(caller, *arguments):
    """What resolve_config makes of the arguments, and what it says."""
    script = 'source scripts/env.sh; resolve_config "$@"; printf "=> %s\\n" ${ARGS[@]+"${ARGS[@]}"}'
    found = bash("-c", script, "bash", caller, *arguments, check=True)
    return [x.removeprefix("=> ") for x in found.stdout.splitlines()], found.stderr.strip()


def test_names_of_files_mean_those_where_the_user_stands(tmp_path):
    for file in ("mine.yaml", "x.csv", "other set.npz"):
        (tmp_path / file).touch()
    found, said = resolved(
        tmp_path,
        "mine.yaml",
        "data.table.series=x.csv",
        "synthetic=[guided,other set.npz,nosuch.npz]",
        "configs/base/demo.yaml",
        "nosuch.yaml",
        "guidance=none",
        "tuning.w=[-0.5,0,0.5]",
        "/abs/x.csv",
        "runs_dir=./out",
        "synthetic=[../a.npz,./README.md]",
        "runs_dir=out/",
        "classifier.model=my:Cls",
        "./README.md",
    )
    assert found == [
        f"{tmp_path}/mine.yaml",
        f"data.table.series={tmp_path}/x.csv",
        f"synthetic=[guided,{tmp_path}/other set.npz,nosuch.npz]",
        "configs/base/demo.yaml",
        f"{tmp_path}/nosuch.yaml",
        "guidance=none",
        "tuning.w=[-0.5,0,0.5]",
        "/abs/x.csv",
        f"runs_dir={tmp_path}/out",  # whether or not it is there yet
        f"synthetic=[{tmp_path}/../a.npz,{tmp_path}/README.md]",
        "runs_dir=out/",
        "classifier.model=my:Cls",
        f"{tmp_path}/README.md",
    ]
    assert said == f"(started in {tmp_path}; paths below are relative to {ROOT})"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("synthetic=[ ./a.npz , x.npz ]", "synthetic=[{0}/a.npz,{0}/x.npz]"),
        ("synthetic=guided,x.npz", "synthetic=[guided,{0}/x.npz]"),
        ("set='x.npz'", "set=['{0}/x.npz']"),
        (
            "data.files={train: ./t.npz, val: x.npz}",
            "data.files={train: {0}/t.npz,val: {0}/x.npz}",
        ),
        ('data.files={"train": "x.npz"}', 'data.files={"train": "{0}/x.npz"}'),
        ("data.guide_where={icu_type: [3, 4], ward: [0.5]}", None),
        ("data.space.ordered=[[a, b.c], [c, d]]", None),
    ],
)
def test_spaces_quotes_and_mappings_are_those_of_yaml(tmp_path, given, found):
    (tmp_path / "x.npz").touch()
    key, value = resolved(tmp_path, given)[0][0].split("=", 1)
    wanted = (found or given).replace("{0}", str(tmp_path)).split("=", 1)
    assert (key, yaml.safe_load(value)) == (wanted[0], yaml.safe_load(wanted[1]))


def test_in_the_repository_nothing_is_changed():
    arguments = ["configs/base/demo.yaml", "experiment=x", "synthetic=[a,README.md]"]
    assert resolved(ROOT, *arguments)[0] == arguments
    assert resolved(ROOT)[0] == [""]
