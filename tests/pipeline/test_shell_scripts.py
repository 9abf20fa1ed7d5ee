"""The shell scripts: syntax, --help, calls without arguments, and calls from another folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from configs import load_config
from tardiff.generate import _warn_of_few

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
    assert f"<data.eicu.folder={tmp_path}/site=3><data.dir=./my data>" in built
    words = bash("-c", f'printf "<%s>" {following}', check=True).stdout
    assert words == f"<{ROOT}/train.sh><configs/base/eicu_icustay.yaml><data.dir=./my data>"


def test_the_build_of_a_raw_release_is_the_process_that_was_started(tmp_path):
    """Else a signal to the script, as of `timeout` or a scheduler, leaves the build running."""
    stub = tmp_path / "python"
    stub.write_text("#!/bin/sh\necho pid $$\n")
    stub.chmod(0o755)
    command = ["bash", ROOT / "data_preprocess/mimic3.sh", "raw"]
    environment = os.environ | {"PYTHON": str(stub)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as started:
        assert started.communicate()[0].splitlines()[-1] == f"pid {started.pid}"


@pytest.fixture
def stub(tmp_path):
    """A Python that prints where the user stands and its arguments, each in brackets."""
    path = tmp_path / "python"
    path.write_text('#!/bin/sh\nprintf "<%s>" "$TARDIFF_CALLER" "$@"\necho\n')
    path.chmod(0o755)
    return path


def called(stub, cwd, script, *arguments):
    """The lines that the stub printed, and what the script says."""
    words = [ROOT / script, *arguments]
    found = bash("-c", f'PYTHON={stub} bash "$@"', "bash", *words, cwd=cwd, check=True)
    return found.stdout.splitlines(), found.stderr.strip()


def test_the_stages_are_told_where_the_user_stands(stub, tmp_path):
    """And read the paths in their arguments so (tests/unit/configs/test_arguments.py)."""
    arguments = ["mine.yaml", 'data.table.static=["race, region", b]', "runs_dir=./out"]
    lines, said = called(stub, tmp_path, "train.sh", *arguments)
    given = "".join(f"<{argument}>" for argument in arguments)
    assert lines == [f"<{tmp_path}><-m><configs><tardiff.train>{given}"]
    assert said == f"(started in {tmp_path}; paths below are relative to {ROOT})"


def test_so_are_those_that_another_script_calls(stub, tmp_path):
    lines, said = called(stub, tmp_path, "scripts/reproduce.sh", "table3", "./mine.yaml")
    stages = ("tardiff.train", "classifier.train", "scripts.influence_report.__main__")
    assert lines == [f"<{tmp_path}><-m><configs><{stage}><./mine.yaml>" for stage in stages]
    assert said.count("started in") == 1


def test_an_item_of_the_paper_makes_as_many_series_as_it_evaluates(stub, tmp_path, caplog):
    """Also of a config that evaluates four per real one."""
    config = ROOT / "configs/base/demo.yaml"
    lines, _ = called(stub, tmp_path, "scripts/reproduce.sh", "table2", config)
    (line,) = (line for line in lines if "tardiff.generate" in line)
    _warn_of_few(load_config(re.findall("<(.*?)>", line)[4:]))
    assert not caplog.text


def test_in_the_repository_nothing_is_said(stub):
    assert called(stub, ROOT, "train.sh") == ([f"<{ROOT}><-m><configs><tardiff.train>"], "")


def test_a_config_of_another_folder_is_read(tmp_path):
    (tmp_path / "mine.yaml").write_text("experiment: x\nnosuch: 1\n")
    found = bash(ROOT / "train.sh", "mine.yaml", cwd=tmp_path)
    assert f"error: {tmp_path}/mine.yaml: unknown key 'nosuch'" in found.stdout
