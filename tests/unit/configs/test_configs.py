"""Configuration: what is read from YAML and command line, and errors that name the key."""

import dataclasses
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import __main__ as entry
from configs import load_config, split_arguments, to_plain, to_yaml
from configs.arguments import is_override
from configs.cli import run_stage
from configs.run_record import describe_differences
from configs.runtime.errors import ConfigError

ROOT = Path(__file__).parents[3]
YAMLS = sorted((ROOT / "configs" / "base").glob("*.yaml"))
DEMO = str(ROOT / "configs" / "base" / "demo.yaml")


def load(*overrides):
    return load_config([DEMO, *overrides])


def test_defaults_are_frozen_and_overrides_apply():
    config = load("diffusion.max_steps=7", "guidance=none", "classifier.model_args.hidden=5")
    assert config.diffusion.max_steps == 7
    assert config.guidance.kind == "none"
    assert config.classifier.model_args["hidden"] == 5
    assert config.data.dir == "data/demo"
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 3


def test_round_trip_through_yaml(tmp_path):
    config = load("guidance.w=0.25", "synthetic=a.npz")
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(config))
    assert to_plain(load_config([str(path)])) == to_plain(config)
    assert json.loads(json.dumps(to_plain(config))) == to_plain(config)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("diffusion.max_step=3", "did you mean 'diffusion.max_steps'"),
        ("width=3", "did you mean 'diffusion.width'"),
        ("nonsense.key=3", "unknown key 'nonsense.key'"),
        # No cohort of MIMIC-IV was published, so nothing would read it.
        ("data.mimic4.allow_other_counts=true", "unknown key 'data.mimic4.allow_other_counts'"),
        ("guidance.w=abc", "guidance.w"),
        ("sampler.num_steps=1", r"expected a number in \[2, inf\)"),
        ("guidance.trust=0", r"expected a number in \(0, inf\)"),
        ("guidance.w=nan", "guidance.w"),
        ("data.clip=inf", r"data.clip=inf: expected a number in \[1, inf\)"),
        ("diffusion.beta_end=1.0", r"expected a number in \(0, 1\)"),  # a level of -inf
        ("diffusion.prediction=w", "expected one of v, eps, x0"),
        ("guidance=magic", "expected one of influence, classifier, none"),
        ("diffusion.width=30", "multiple of 8"),
        ("diffusion.attention_levels=[7]", "indices into"),
        ("guidance.interval=[0.8,0.2]", "0 <= from < to <= 1"),
        ("data.test=0.9", "must be below 1"),
        ("data.task=icustay", "no length of stay to make it of"),
        ("experiment=../up", "it names folders"),
        ("evaluation.protocols=[TSTS]", "unknown"),
        ("evaluation.seeds=[]", "at least one seed"),
        ("evaluation.seeds=[0,0]", "an item is there twice"),
        ("evaluation.models=[]", "at least one model"),
        ("evaluation.ratios=[0]", "positive ratios"),
        ("evaluation.ratios=[nan]", "positive ratios"),
        ("evaluation.seeds=[-1]", "seeds of at least 0"),
        ("evaluation.dir=classifier", "belongs to another command"),
        ("evaluation.dir=record.json", "belongs to another command"),
        ("data.space.ordered=[a,b]", r"ordered=\[a,b\]': expected a list of lists, as \[\[a,b\]\]"),
        ("classifier.model_args=[3]", "a list where a mapping belongs"),
        ("evaluation.seeds={a: 1}", "a list where a mapping belongs"),
        ("data.train_where={unit_type:[1]}", "a colon of a mapping needs a space"),
        ("data.space.types={heart_rate:positive}", "a colon of a mapping needs a space"),
        ("sampler.log_snr_min=12", "must be below"),
        ("novalue", "key=value"),
        ("evaluation.seeds=5", r"evaluation\.seeds: expected a list, as evaluation\.seeds=\[a,b\]"),
        ("diffusion=3", "diffusion"),
    ],
)
def test_a_wrong_value_is_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load(override)


def test_a_wrong_yaml_is_named(tmp_path):
    with pytest.raises(ConfigError, match="does not exist; known configs"):
        load_config([str(tmp_path / "absent.yaml")])
    (tmp_path / "mine.yml").write_text("experiment: mine")
    with pytest.raises(ConfigError, match=r"did you mean .*mine.yml\?$"):
        load_config([str(tmp_path / "mine.yaml")])
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1,")
    with pytest.raises(ConfigError, match="not readable as YAML"):
        load_config([str(broken)])
    broken.write_text("- 1\n- 2\n")
    with pytest.raises(ConfigError, match="expected a mapping"):
        load_config([str(broken)])
    broken.write_text("seed: 3\n")
    with pytest.raises(ConfigError, match="an item with brackets needs quotes"):
        load_config(["data.table.channels=[hr[bpm],spo2]"])
    with pytest.raises(ConfigError, match="missing value for experiment"):
        load_config([str(broken)])
    broken.write_text("experiment: x\ndifusion: {width: 16}\n")
    with pytest.raises(ConfigError, match="broken.yaml: unknown key 'difusion"):
        load_config([str(broken)])


def test_the_first_yaml_is_the_config():
    path, overrides = split_arguments(["a=1", "configs/base/demo.yaml", "b=c.yaml"])
    assert str(path) == "configs/base/demo.yaml"
    assert overrides == ["a=1", "b=c.yaml"]
    with pytest.raises(ConfigError, match="more than one config"):
        split_arguments(["a.yaml", "b.yaml"])


@pytest.mark.parametrize(
    "argument", ["seed=1", "data.table.ranges.SpO2 %=[0, 100]", "data.dir=/x/site=3", "b=c.yaml"]
)
def test_a_folder_with_an_equals_sign_is_no_key(argument):
    assert is_override(argument)
    assert not any(map(is_override, ("/x/site=3", "x/site=3/a.csv", "./site=3", "my file=3.csv")))
    path, overrides = split_arguments([argument, "x/site=3/c.yaml"])
    assert (str(path), overrides) == ("x/site=3/c.yaml", [argument])


TEXT = st.sampled_from(
    ["No", "on", "Off", "yes", "Y", "0012", "1e3", "1_0", "12:30", "0x1F", "1.50", "2020-01-01"]
)


@settings(max_examples=12, deadline=None)
@given(TEXT)
def test_text_stays_as_written_wherever_the_schema_says_text(tmp_path_factory, word):
    path = tmp_path_factory.mktemp("c") / "c.yaml"
    path.write_text(
        f"experiment: x\ndata:\n  table: {{id: {word}, subject: {word}, channels: [{word}, a]}}\n"
        f"  space: {{types: {{{word}: integer}}}}\n"
    )
    overrides = [f"data.table.id={word}", f"data.table.subject={word}"]
    overrides += [f"data.table.channels=[{word}, a]", f"data.space.types={{{word}: integer}}"]
    for config in (load_config([str(path)]), load(*overrides)):
        table = config.data.table
        assert (table.id, table.subject, table.channels) == (word, word, [word, "a"])
        assert config.data.space.types == {word: "integer"}


def test_names_of_folders_stay_as_written_and_null_stays_null():
    config = load("experiment=0012", "generation.name=1e3", "data.table.subject=null")
    assert (config.experiment, config.generation.name) == ("0012", "1e3")
    assert config.data.dir == "data/0012" and config.data.table.subject is None


@pytest.mark.parametrize(
    "text", [",", "#id", "*death", "%sat", "@x", ">89", "&x", "!x", "|", "- x", "Zeit: h"]
)
def test_a_text_on_the_command_line_needs_no_quotes_of_yaml(text):
    config = load(f"data.table.id={text}", f"data.table.subject='{text}'", "data.table.decimal=,")
    assert (config.data.table.id, config.data.table.subject) == (text, text)
    assert config.data.table.decimal == ","


@pytest.mark.parametrize("nothing", ["", "~", "null"])
def test_no_text_is_none_where_there_may_be_none(nothing):
    assert load(f"data.table.subject={nothing}").data.table.subject is None
    with pytest.raises(ConfigError, match="data.table.id"):
        load(f"data.table.id={nothing}")


@pytest.mark.parametrize("number", ["1:00", "0010", "190:20:30"])
def test_numbers_in_another_base_are_refused(tmp_path, number):
    with pytest.raises(ConfigError, match=f"YAML reads {number} as .* base ten"):
        load(f"data.step_minutes={number}")
    path = tmp_path / "c.yaml"
    path.write_text(f"experiment: x\nseed: {number}\n")
    with pytest.raises(ConfigError, match=f"c.yaml: seed: YAML reads {number}"):
        load_config([str(path)])


def test_a_key_that_stands_twice_and_a_tab_are_named_with_their_line(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("experiment: x\ndata: {seed: 1}\nseed: 0\ndata: {seed: 2}\n")
    with pytest.raises(ConfigError, match=r"duplicate key data \(line 4\)"):
        load_config([str(path)])
    path.write_text("experiment: x\ndata:\n\tseed: 1\n")
    with pytest.raises(ConfigError, match=r"cannot start any token \(line 3\)"):
        load_config([str(path)])


FREE_KEYS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9), max_size=3)


@settings(max_examples=15, deadline=None)
@given(FREE_KEYS, FREE_KEYS)
def test_a_whole_mapping_on_the_command_line_replaces(tmp_path_factory, written, wanted):
    path = tmp_path_factory.mktemp("c") / "c.yaml"
    path.write_text(f"experiment: x\nclassifier:\n  model_args: {json.dumps(written)}\n")
    whole = f"classifier.model_args={json.dumps(wanted)}"
    assert load_config([str(path), whole]).classifier.model_args == wanted
    nested = f"classifier={{model_args: {json.dumps(wanted)}}}"
    assert load_config([str(path), nested]).classifier.model_args == wanted
    one = load_config([str(path), "classifier.model_args.a=5"])
    assert one.classifier.model_args == written | {"a": 5}


def test_another_model_does_not_get_the_arguments_of_the_configs_own(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("experiment: x\nclassifier: {model: rnn, model_args: {hidden: 8}}\n")

    def arguments_of(*given):
        return load_config([str(path), *given]).classifier.model_args

    assert arguments_of() == arguments_of("classifier.model=rnn") == {"hidden": 8}
    assert arguments_of("classifier.model=conv") == {}
    for order in (1, -1):  # whichever comes first
        given = ["classifier.model=conv", "classifier.model_args.width=16"][::order]
        assert arguments_of(*given) == {"width": 16}


@pytest.mark.parametrize(
    "argument,message",
    [
        ("demo", "did you mean configs/base/demo.yaml?"),
        ("x/site=3/c.yml", "config x/site=3/c.yml does not exist"),
        ("configs/base/dmeo.yaml", "did you mean configs/base/demo.yaml?"),
        ("configs/base/demo.yml", "did you mean configs/base/demo.yaml?"),
        ("x/site=3", "expected a path ending in .yaml or key=value"),
        ("synthetic=[guided,", "a value with spaces needs quotes, for example 'synthetic=[a, b]'"),
        ("data.table.ranges={hr:", "does not end in }: a value with spaces needs quotes"),
    ],
)
def test_a_slip_on_the_command_line_is_answered_with_what_was_meant(argument, message, capsys):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config([argument])
    with pytest.raises(SystemExit):
        run_stage(lambda config: None, [argument])
    assert ("No config was named" in capsys.readouterr().out) == is_override(argument)


def test_remarks_of_libraries_are_not_shown_and_warnings_are():
    """Lightning sets the level of its logger when it is imported, after the stage has begun."""
    program = """
import logging
from configs.arguments import is_override
from configs.cli import run_stage
def main(config):
    noisy = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    noisy.setLevel(logging.INFO)
    noisy.info("a tip")
    noisy.warning("a warning")
    logging.getLogger("tardiff").info("a line")
run_stage(main)
"""
    command = [sys.executable, "-c", program, "configs/base/tiny.yaml"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == ["a warning", "a line"]


def test_a_path_with_a_number_sign_is_whole():
    """ " #" begins a comment in YAML."""
    assert (
        load_config(["configs/base/tiny.yaml", "runs_dir=/tmp/a #b/runs"]).runs_dir
        == "/tmp/a #b/runs"
    )
    with pytest.raises(ConfigError):
        load_config(["configs/base/tiny.yaml", "diffusion.max_steps=30 # few"])


@pytest.mark.parametrize("key", ["seed", "data.seed", "generation.seed"])
def test_seeds_are_not_negative(key):
    with pytest.raises(ConfigError, match=f"{key}=-1"):
        load_config(["configs/base/tiny.yaml", f"{key}=-1"])


def test_the_command_line_stays_as_it_is(monkeypatch):
    """Lightning starts further processes by it."""
    seen = []
    stage = types.SimpleNamespace(main=seen.append)
    monkeypatch.setitem(sys.modules, "some.stage", stage)
    monkeypatch.setitem(entry.TITLES, "some.stage", "a stage")
    line = ["configs", "some.stage", "configs/base/tiny.yaml", "seed=3"]
    monkeypatch.setattr(sys, "argv", list(line))
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == 0 and seen[0].seed == 3 and sys.argv == line


@pytest.mark.parametrize(
    "asked", ["sampler.cfg_scale=2", "sampler.cfg_scale=0", "tuning.cfg_scale=[1,2]"]
)
def test_nothing_extrapolates_from_a_label_that_was_not_trained(asked):
    assert load("diffusion.label_dropout=0", "sampler.cfg_scale=tuned").sampler.num_steps
    with pytest.raises(
        ConfigError, match=rf"{asked.split('=')[0]} other than 1 with diffusion\.label"
    ):
        load("diffusion.label_dropout=0", asked)


@pytest.mark.parametrize(
    "asked",
    [
        "influence.vector=g.pt",
        "generation.resample=always",
        "guidance.kind=none",
        "guidance.kind=classifier",
    ],
)
def test_what_algorithm_1_would_ignore_is_refused(asked):
    with pytest.raises(ConfigError, match=f"compat=paper with {asked.split('=g.pt')[0]}"):
        load_config(["configs/base/demo.yaml", "compat=paper", asked])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"patch": 2}, {"patch": 4}, "diffusion.patch: 2 -> 4"),
        ({"removed": 1, "patch": 2}, {"patch": 2}, ""),
        ({}, {"patch": 2}, ""),  # a key that was added, at its default
        ({}, {"patch": 4}, "diffusion.patch: 2 -> 4"),
        ({}, {"no_key": None, "other": 1}, "diffusion.other: None -> 1"),
    ],
)
def test_keys_that_a_version_adds_or_removes_are_no_difference(old, new, told):
    assert describe_differences({"diffusion": old}, {"diffusion": new}) == told


def test_a_key_that_is_taken_out_of_a_users_mapping_is_a_difference():
    told = describe_differences(
        {"classifier": {"model_args": {"hidden": 8, "layers": 1}}},
        {"classifier": {"model_args": {"hidden": 8}}},
    )
    assert told == "classifier.model_args: {'hidden': 8, 'layers': 1} -> {'hidden': 8}"
