"""Paths on the command line of a script that was called from another folder."""

from pathlib import Path

import pytest

from configs import load_config, parse_override, split_arguments
from configs.arguments import CALLER, from_caller
from configs.runtime.errors import ConfigError

ROOT = Path(__file__).parents[3]
DEMO = "configs/base/demo.yaml"
PATHS = ("x.csv", "./out", "../a.npz", "nosuch.npz", "guided", "out/", "/abs/x.csv")


@pytest.fixture
def caller(tmp_path, monkeypatch):
    for file in ("mine.yaml", "x.csv", "x.npz", "other set.npz", "guided"):
        (tmp_path / file).touch()
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv(CALLER, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("mine.yaml", "HERE/mine.yaml"),
        (DEMO, DEMO),
        ("nosuch.yaml", "HERE/nosuch.yaml"),
        ("./configs/base/demo.yaml", "HERE/configs/base/demo.yaml"),
        ("/abs/x.yaml", "/abs/x.yaml"),
    ],
)
def test_a_config_is_where_the_user_stands(caller, given, found):
    assert str(split_arguments([given])[0]) == found.replace("HERE", str(caller))


@pytest.mark.parametrize(
    ("given", "key", "found"),
    [
        ("data.table.series=x.csv", "data.table.series", "HERE/x.csv"),
        ("runs_dir=./out", "runs_dir", "HERE/out"),  # whether or not it is there yet
        ("runs_dir=out/", "runs_dir", "out/"),
        ("data.dir=./d/${experiment}", "data.dir", "HERE/d/demo"),
        ("data.yaib.folder='./a b'", "data.yaib.folder", "HERE/a b"),
        (
            "synthetic=[guided,other set.npz,nosuch.npz]",
            "evaluation.synthetic",
            ["guided", "HERE/other set.npz", "nosuch.npz"],
        ),
        ("synthetic=guided,x.npz", "evaluation.synthetic", ["guided", "HERE/x.npz"]),
        ("synthetic=[ ./a.npz , /b.npz ]", "evaluation.synthetic", ["HERE/a.npz", "/b.npz"]),
        ("set='../a, b.npz'", "influence_report.sets", ["HERE/../a, b.npz"]),
        ("data.files={train: ./t.npz, val: x.npz}", "data.files.val", "HERE/x.npz"),
        ('data.files={"train": "./t, u.npz"}', "data.files.train", "HERE/t, u.npz"),
        # What names no file stays as it is.
        (
            'data.table.static=["race, region", "a  b"]',
            "data.table.static",
            ["race, region", "a  b"],
        ),
        ("data.table.id=x.csv", "data.table.id", "x.csv"),
        ("classifier.model=my:Cls", "classifier.model", "my:Cls"),
        ("data.space.ordered=[[a, b.c], [c, d]]", "data.space.ordered", [["a", "b.c"], ["c", "d"]]),
        ("tuning.w=[-0.5,0,0.5]", "tuning.w", [-0.5, 0.0, 0.5]),
    ],
)
def test_paths_in_arguments_are_where_the_user_stands(caller, given, key, found):
    config = load_config([DEMO, given])
    for part in key.split("."):
        config = getattr(config, part)
    assert str(config).replace(str(caller), "HERE") == str(found)


def test_paths_in_a_config_mean_the_repository(caller):
    (caller / "mine.yaml").write_text("experiment: e\ndata: {table: {series: x.csv}}\n")
    assert load_config(["mine.yaml"]).data.table.series == "x.csv"


@pytest.mark.parametrize("standing", [None, str(ROOT), f"{ROOT}/configs/.."])
def test_in_the_repository_nothing_is_changed(monkeypatch, standing):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv(CALLER, raising=False)
    if standing is not None:
        monkeypatch.setenv(CALLER, standing)
    for given in (*PATHS, DEMO, "./README.md", "README.md"):
        assert from_caller(given, there=True) == given
    assert parse_override("synthetic=[a,README.md]").evaluation.synthetic == ["a", "README.md"]


def test_no_guided_set_takes_the_name_of_the_one_it_is_compared_with():
    named = [DEMO, "generation.name=unguided"]
    assert load_config([*named, "guidance=none"]).generation.name == "unguided"
    for more in ([], ["generation.unguided_too=false"], ["compat=paper"]):
        with pytest.raises(ConfigError, match="generation.name=unguided: the set of this name"):
            load_config([*named, *more])
