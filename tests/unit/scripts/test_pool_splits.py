"""Several experiments as one result: closed forms of the spread, pairing, refusal of gaps."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from configs.runtime.errors import ConfigError, MismatchError, MissingInputError
from scripts.pool_splits import CHOSEN, across_table, main, read_scores, t_interval

SETS = [("TRTR", "real", 0.0), ("TSTR", "unguided", None), ("TSTR", "guided_w1", None)]


def experiment(root, name, base, gain, sets=SETS):
    """Two training seeds around `base`; the guided set is better by `gain`."""
    folder = root / name / "matrix"
    folder.mkdir(parents=True)
    (folder.parent / "tuning").mkdir()
    rows = [
        (protocol, generator, ratio, "lstm", seed, metric, base + offset + 0.01 * seed)
        for protocol, generator, ratio in sets
        for offset in [gain if generator.startswith("guided") else 0.0]
        for seed in (0, 1)
        for metric in ("auroc", "auprc", "brier")
    ]
    columns = ["protocol", "generator", "ratio", "model", "seed", "metric", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "results.csv", index=False)
    chosen = {"chosen": {"set": "guided_w1", "w": 1.0, "cfg_scale": 1.0}}
    (folder.parent / "tuning" / "scale.json").write_text(json.dumps(chosen))
    summarise(folder, name)
    return folder


def summarise(folder, fingerprint, measured=(), predicted=-0.02):
    changes = [
        {"set": "guided_w1", "model": "lstm", "predicted": predicted, "measured": value}
        for value in measured
    ]
    summary = {"data_fingerprint": fingerprint, "guidance_loss": changes}
    (folder / "summary.json").write_text(json.dumps(summary))


def test_spread_is_students_interval():
    values = [0.70, 0.72, 0.77]
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((0.73, low, high))
    assert np.isnan(t_interval([0.5])[1:]).all()


def test_differences_are_paired_within_experiments(tmp_path):
    folders = [experiment(tmp_path, f"s{i}", 0.6 + 0.1 * i, 0.02) for i in range(3)]
    frame = pd.concat({str(f): read_scores(f) for f in folders}, names=["run"]).reset_index()
    rows = {tuple(row[:4]): row for row in across_table(frame).rows}
    row = rows["synthetic (TSTR)", "guided_w1", "lstm", "AUROC"]
    # Scores differ by 0.1 between experiments, the paired difference does not vary at all.
    assert row[4].startswith("0.725 [0.4") and row[5] == "+0.020 [+0.020, +0.020]*"
    assert rows["synthetic (TSTR)", CHOSEN, "lstm", "AUROC"][4:] == row[4:]
    assert rows["synthetic (TSTR)", "unguided", "lstm", "AUPRC"][5] == "-"
    assert not any(row[3] == "Brier" for row in rows.values())


def test_real_and_guidance_rows_are_a_third_reference(tmp_path):
    sets = [*SETS, ("TRTS", "guided_w1", None), ("TRTR+", "guide_rows", None)]
    folders = [experiment(tmp_path, f"s{i}", 0.6 + 0.1 * i, 0.02, sets) for i in range(3)]
    frame = pd.concat({str(f): read_scores(f) for f in folders}, names=["run"]).reset_index()
    table = across_table(frame)
    assert table.columns[-1] == "minus guide_rows"
    last = {(row[0], row[1]): row[-1] for row in table.rows if row[3] == "AUROC"}
    assert last["synthetic (TSTR)", "guided_w1"] == "+0.020 [+0.020, +0.020]*"
    assert last["real (TRTR)", "real"] == "+0.000 [+0.000, +0.000]"
    assert last["no generator (TRTR+)", "guide_rows"] == "-"
    assert last["tested on set (TRTS)", "guided_w1"] == "-"  # other rows are scored


def test_signs_of_the_predicted_change(tmp_path):
    """Counted where a change is predicted; a strength of 0 predicts none."""
    folders = [experiment(tmp_path, name, 0.6, 0.0) for name in "abc"]
    summarise(folders[0], "a", [-0.01, -0.03])
    summarise(folders[1], "b", [+0.01])
    main([f"out={tmp_path}/study", *map(str, folders[:2])])
    page = (tmp_path / "study.md").read_text()
    low, high = stats.ttest_1samp([-0.01, -0.03, 0.01], 0.0).confidence_interval(0.95)
    assert f"| -0.010 [{low:.3f}, {high:+.3f}] | 2 of 3 |" in page
    summarise(folders[2], "c", [0.0], predicted=0.0)
    main([f"out={tmp_path}/study", *map(str, folders)])
    assert "| 2 of 3 |" in (tmp_path / "study.md").read_text()


def test_main_writes_both_files_and_wants_complete_experiments(tmp_path):
    one, two = experiment(tmp_path, "a", 0.6, 0.0), experiment(tmp_path, "b", 0.7, 0.0, SETS[:2])
    main([f"out={tmp_path}/study", str(one)])
    assert "chosen" in (tmp_path / "study.md").read_text()
    assert len(pd.read_csv(tmp_path / "study.csv")) == 2 * (len(SETS) + 1)
    with pytest.raises(MismatchError, match="guided_w1"):
        main([f"out={tmp_path}/study", str(one), str(two)])
    with pytest.raises(MissingInputError, match=r"results.csv does not exist.*matrix.sh"):
        main([f"out={tmp_path}/study", str(tmp_path / "nowhere")])
    with pytest.raises(ConfigError, match="expected out="):
        main([str(one)])


def test_one_data_split_counts_once(tmp_path):
    """A copy of an experiment would make every interval a point."""
    folders = [experiment(tmp_path, name, 0.6, 0.0) for name in ("a/tiny", "b/tiny")]
    main([f"out={tmp_path}/study.v1", *map(str, folders)])
    assert "Over 2 data splits" in (tmp_path / "study.v1.md").read_text()
    with pytest.raises(MismatchError, match="same data split"):
        main([f"out={tmp_path}/study", str(folders[0]), str(folders[0])])
    (folders[1] / "summary.json").write_text('{"experiment": "tiny"}')
    with pytest.raises(MismatchError, match=r"summary.json: of an earlier version"):
        main([f"out={tmp_path}/study", *map(str, folders)])
    for folder in folders:
        summarise(folder, "d")
    with pytest.raises(MismatchError, match="same data split"):
        main([f"out={tmp_path}/study", *map(str, folders)])


def test_a_set_may_be_called_na(tmp_path):
    folder = experiment(tmp_path, "a", 0.6, 0.0, [*SETS[:2], ("TSTR", "NA", None)])
    assert set(read_scores(folder)["generator"]) == {"real", "unguided", "NA"}
