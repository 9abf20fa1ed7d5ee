"""Stage 3 on the tiny config: what it writes, that guidance acts, and which pairings it refuses."""

import json
import logging
import pickle
from functools import partial

import numpy as np
import pytest
import torch

from configs import load_config
from configs.run_record import sha256_file
from configs.runtime.errors import ConfigError, DataError, MismatchError, MissingInputError
from data_preprocess.build import load_splits
from data_preprocess.card import LICENCES
from data_preprocess.storage.dataset_files import load_dataset, load_extra
from tardiff.from_config import load
from tardiff.generate import is_current
from tardiff.generate import main as generate
from tardiff.generation.artefacts import requested_labels
from tardiff.generation.pilot import pilot_numbers
from tardiff.train import main as train_diffusion

FEW = "generation.counts=[12,6]"


def run(trained, *overrides):
    root, arguments = trained
    config = load_config([*arguments, *overrides])
    generate(config)
    return root / "runs" / "tiny" / "synthetic"


def test_guided_and_unguided_sets_are_written_in_clinical_units(trained, caplog):
    caplog.set_level(logging.INFO)
    folder = run(trained)
    splits = load_splits(load_config(trained[1]).data)
    guided, unguided = load_dataset(folder / "guided.npz"), load_dataset(folder / "unguided.npz")
    for made in (guided, unguided):
        assert made.feature_names == splits.train.feature_names
        np.testing.assert_array_equal(made.class_counts, splits.train.class_counts)
        low, high = np.array(splits.normaliser.low), np.array(splits.normaliser.high)
        assert (made.values >= low[:, None] - 1e-3).all()
        assert (made.values <= high[:, None] + 1e-3).all()
        assert (made.subject_ids == -1).all()
    gap = np.abs(guided.values - unguided.values)
    assert gap.mean() > 0.01  # guidance acts ...
    assert gap.mean() < splits.train.values.std()  # ... on the same noise
    facts = load_extra(folder / "guided.npz")
    assert facts["data_fingerprint"] == splits.fingerprint
    realised, asked = facts["guidance"]["realised"], facts["guidance"]["requested"]
    assert asked == [0.5, 0.5]
    assert all(0.2 < shift < 0.9 for shift in realised)
    assert "guidance: mean influence moved by" in caplog.text
    card = (folder / "guided.card.md").read_text()
    assert "not for clinical use" in card and f"- source data: {LICENCES['simulated']}" in card
    assert "copies of training series: none left" in card and facts["copies"]["tries"] >= 0
    assert not (folder / ".parts").exists()  # batches are kept until the sets are written
    record = json.loads((trained[0] / "runs/tiny/record.json").read_text())
    assert {"diffusion", "generation/guided", "generation/unguided"} <= set(record)


@pytest.mark.parametrize(
    ("ratios", "protocols", "told"),
    [("[1.0]", "[TSRTR]", False), ("[1.0,4.0]", "[TSRTR]", True), ("[4.0]", "[TSTR]", False)],
)
def test_too_few_series_for_stage_4_are_told(trained, caplog, ratios, protocols, told):
    asked = (f"evaluation.ratios={ratios}", f"evaluation.protocols={protocols}")
    run(trained, *asked, "generation.name=few")
    assert ("evaluation.ratios asks for (4)" in caplog.text) == told


def test_same_seed_same_bytes_and_any_batch_size(trained):
    first = load_dataset(run(trained, FEW) / "guided.npz").values
    again = load_dataset(run(trained, FEW) / "guided.npz").values
    np.testing.assert_array_equal(first, again)
    small = load_dataset(run(trained, FEW, "sampler.batch_size=7") / "guided.npz").values
    scale = first.std(axis=(0, 2), keepdims=True)
    # A convolution rounds differently at another batch size; nothing else may differ.
    assert np.quantile(np.abs(small - first) / scale, 0.99) < 1e-2
    other = load_dataset(run(trained, FEW, "generation.seed=1") / "guided.npz").values
    assert np.abs(other - first).mean() > 0.1 * scale.mean()


def test_a_run_cut_off_while_writing_samples_nothing_again(trained, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    whole = (run(trained, FEW) / "guided.npz").read_bytes()
    assert "guided: sampling 18 series\n" in caplog.text

    def cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("tardiff.generate.write_set", cut)
        run(trained, FEW)
    caplog.clear()
    folder = run(trained, FEW)
    assert "guided: sampling 0 series, 18 were sampled before" in caplog.text
    assert "pilot of" not in caplog.text
    assert (folder / "guided.npz").read_bytes() == whole


@pytest.mark.parametrize("cut_in", ["save_dataset", "write_text", "write_croissant"])
def test_a_set_of_which_files_are_of_one_before_is_not_current(trained, monkeypatch, cut_in):
    """What tuning and the matrix would then leave as it is."""
    asked = [(FEW, "guidance=none", f"generation.seed={seed}") for seed in (0, 1)]
    wanted = [load(load_config([*trained[1], *arguments])) for arguments in asked]
    path = run(trained, *asked[0]) / "unguided.npz"
    assert [is_current(path, one) for one in wanted] == [True, False]

    def cut(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(f"tardiff.generation.data_card.{cut_in}", cut)
        run(trained, *asked[1])
    assert not any(is_current(path, one) for one in wanted)


def files(folder):
    return [(folder / f"{name}.npz").read_bytes() for name in ("guided", "unguided")]


def test_worker_processes_make_the_set_of_one_process(trained):
    batches = (FEW, "sampler.batch_size=5")
    alone = files(run(trained, *batches, "generation.workers=1"))
    assert files(run(trained, *batches, "generation.workers=2")) == alone


@pytest.mark.slow
def test_a_dask_cluster_makes_the_set_of_one_process(trained):
    distributed = pytest.importorskip("distributed")
    batches = (FEW, "sampler.batch_size=5")
    alone = files(run(trained, *batches, "generation.workers=1"))
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster:
        place = (f"processes.scheduler={cluster.scheduler_address}", "processes.backend=dask")
        assert files(run(trained, *batches, *place)) == alone
        with distributed.Client(cluster) as client:
            worked = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert len(worked) == 2 and all(count > 0 for count in worked.values())


def test_strength_zero_equals_unguided(trained):
    folder = run(trained, FEW, "guidance.w=0", "generation.name=zero")
    zero, unguided = load_dataset(folder / "zero.npz"), load_dataset(folder / "unguided.npz")
    np.testing.assert_array_equal(zero.values, unguided.values)


def test_the_sign_of_w_is_the_sign_of_the_shift(trained):
    folder = run(trained, "guidance.w=-0.5", "generation.name=control")
    assert max(load_extra(folder / "control.npz")["guidance"]["realised"]) < -0.1


def test_guidance_none_and_classifier_guidance(trained):
    folder = run(trained, "guidance=none", "generation.ratio=0.5")
    assert abs(len(load_dataset(folder / "unguided.npz")) - 58) <= 1
    folder = run(trained, FEW, "guidance=classifier")
    facts = load_extra(folder / "classifier_guided.npz")
    assert facts["guidance"]["score"] == "log p(label)"
    assert all(shift > 0.2 for shift in facts["guidance"]["realised"])


def test_paper_mode_raises_influence_by_a_raw_multiplier(trained, monkeypatch, caplog):
    monkeypatch.setattr("configs.runtime.progress.SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level(logging.INFO)
    folder = run(trained, FEW, "compat=paper", "guidance.paper_w=1")
    assert caplog.text.count("influence: 18 of 18 series") == 2  # of each set once
    facts = load_extra(folder / "paper.npz")["guidance"]
    assert facts["requested"] == [None, None]
    assert all(shift > 0.1 for shift in facts["realised"])
    assert (folder / "paper_w0.npz").is_file()
    one = run(trained, "generation.counts=[0,6]", "compat=paper", "guidance.paper_w=1")
    shifts = load_extra(one / "paper.npz")["guidance"]["realised"]
    assert shifts[0] == 0 and shifts[1] > 0.1  # a class of which nothing is asked for


@pytest.mark.parametrize("paper", [False, True])
def test_a_tuned_strength_that_is_not_read_needs_no_tuning(trained, paper):
    how = ["compat=paper"] if paper else ["guidance=none"]
    assert load(load_config([*trained[1], "guidance.w=tuned", *how])).config.guidance.w == 0
    with pytest.raises(MissingInputError, match=r"bash scripts/tune\.sh"):
        load(load_config([*trained[1], "guidance.w=tuned"]))


def test_one_series_of_a_class_has_no_standard_deviation(trained):
    with pytest.raises(DataError, match="there is 1 series; ask for two or more, or for none"):
        run(trained, "generation.counts=[1,1]", "compat=paper", "guidance.paper_w=1")


def test_a_multiplier_so_strong_that_values_overflow_is_reported(trained):
    with pytest.raises(FloatingPointError, match="guidance.paper_w"):
        run(trained, FEW, "compat=paper", "guidance.paper_w=1e38")


def test_a_set_is_described(trained):
    folder = run(trained, "guidance=none", "generation.counts=[3,2]")
    described = json.loads((folder / "unguided.croissant.json").read_text())
    files = {file["contentUrl"]: file["sha256"] for file in described["distribution"]}
    assert files == {"unguided.npz": sha256_file(folder / "unguided.npz")}
    assert (folder / "unguided.card.md").read_text().startswith("---\npretty_name: unguided\n")


@pytest.mark.parametrize("eta", [0, 1])
def test_other_samplers_are_guided_too(trained, eta):
    folder = run(trained, "sampler=ddim", f"sampler.eta={eta}", f"generation.name=ddim{eta}")
    realised = load_extra(folder / f"ddim{eta}.npz")["guidance"]["realised"]
    assert all(shift > 0.1 for shift in realised)


def test_missing_stages_name_their_command(trained):
    root, arguments = trained
    with pytest.raises(MissingInputError, match="bash train.sh"):
        generate(load_config([*arguments, f"runs_dir={root}/elsewhere"]))
    with pytest.raises(MissingInputError, match="classifier/train.sh"):
        generate(load_config([*arguments, f"classifier.checkpoint_dir={root}/nothing"]))


def test_artefacts_of_other_data_are_refused(trained, tmp_path):
    root, arguments = trained
    other = [*arguments, f"data.dir={tmp_path}/other", "data.seed=9"]
    config = load_config([*other, f"runs_dir={tmp_path}/runs"])
    train_diffusion(config)
    with pytest.raises(MismatchError, match="classifier was trained with"):
        generate(config)
    with pytest.raises(MismatchError, match="diffusion model: .*is expected"):
        generate(load_config(other))
    with pytest.raises(MismatchError, match=r"diffusion.width: 8 -> 24"):
        train_diffusion(load_config([*arguments, "diffusion.width=24"]))


class _Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_malicious_model_file_runs_nothing(trained, tmp_path):
    root, arguments = trained
    model = tmp_path / "runs" / "tiny" / "diffusion" / "model.pt"
    model.parent.mkdir(parents=True)
    target = tmp_path / "created"
    for write in (partial(pickle.dump, protocol=2), torch.save):
        with model.open("wb") as handle:
            write({"format": _Payload(target)}, handle)
        with pytest.raises(DataError, match="not a diffusion model"):
            generate(load_config([*arguments, f"runs_dir={tmp_path}/runs"]))
        assert not target.exists()


def test_requests(trained):
    train = load_splits(load_config(trained[1]).data).train
    assert requested_labels(train, ratio=1.0, counts=[2, 1]).tolist() == [0, 0, 1]
    for counts in ([1], [0, 0], [-1, 2]):
        with pytest.raises(ConfigError, match="generation.counts"):
            requested_labels(train, ratio=1.0, counts=counts)
    few = requested_labels(train, ratio=1e-3, counts=None)  # of a rare class at least one
    assert few.tolist() == [0, 1]
    assert len(set(pilot_numbers(0, 50)) | set(pilot_numbers(1, 50))) == 100


def test_settings_that_the_model_was_not_trained_with_are_told(trained, caplog):
    run(trained, FEW, "diffusion.ema_decay=0.5")
    (told,) = [
        line for line in caplog.messages if line.startswith("Stage 1 trained its model with")
    ]
    assert "(diffusion.ema_decay: 0.9 -> 0.5): give the same keys to every stage, or" in told
    assert told.endswith("run stage 1 again.")


def test_a_replaced_counterpart_is_told(trained, caplog):
    run(trained)
    caplog.clear()
    caplog.set_level(logging.INFO)
    run(trained)  # of the same size
    assert "it was the counterpart of" not in caplog.text and "replacing" not in caplog.text
    run(trained, "generation.seed=1", "generation.unguided_too=false")
    (told,) = [line for line in caplog.messages if line.startswith("replacing")]
    assert "guided.npz, made with other settings (" in told
    assert "config.generation.seed: 0 -> 1" in told
    run(trained, FEW, "compat=paper")
    foreign = trained[0] / "runs/tiny/synthetic/foreign.npz"
    np.savez(foreign, x=np.zeros((4, 2, 3)), y=np.arange(4) % 2)  # which no stage 3 made
    for change, named in {
        FEW: "number of series",
        "generation.seed=1": "generation.seed",
        "sampler.num_steps=5": "sampler",
        "guidance.by=choose": "resampling",
    }.items():
        run(trained)
        caplog.clear()
        run(trained, change, "guidance.w=0.1", "generation.name=other")
        told = caplog.text.split("is replaced by a set with another ")[1]
        assert named in told.split(";")[0]
        # Not of sets that were made from other noise, such as the paper's.
        assert "guided" in told.split("counterpart of ")[1] and "paper" not in told
    foreign.unlink()


def test_the_cached_guidance_vector_is_used_only_for_the_same_inputs(trained, caplog):
    caplog.set_level(logging.INFO)
    run(trained, FEW)
    caplog.clear()
    run(trained, FEW)
    assert "cached in" in caplog.text
    caplog.clear()
    run(trained, FEW, "influence.damping=0.02")
    assert "cached in" not in caplog.text
