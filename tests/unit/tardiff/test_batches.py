"""Finished batches survive, are shared and never mixed up: the set is that of one clean run."""

import dataclasses
import logging

import numpy as np
import pytest
import torch

from configs import load_config
from configs.runtime.errors import ConfigError, UserError
from configs.runtime.shards import share
from tardiff.generation.batches import Job, parts_folder, remembered, sample_parts
from tardiff.generation.reverse_process import ReverseProcess
from tardiff.guidance.calibration import Calibration
from tardiff.guidance.guided_denoiser import GuidanceStats, GuidedDenoiser

SHAPE = (2, 4)
Y = torch.arange(10) % 2


def process(**changes):
    fields = {
        "sampler": "dpmpp_2m",
        "levels": torch.linspace(-6, 6, 5, dtype=torch.float64),
        "shape": SHAPE,
        "seed": 3,
        "batch_size": 4,
        "device": torch.device("cpu"),
    }
    return ReverseProcess(**(fields | changes))


class Shrink:
    """A denoiser that counts its calls and fails at the call, or above the batch size, it is told.

    The module level makes it picklable, for worker processes.
    """

    def __init__(self, fail_at=None, error=KeyboardInterrupt, largest=None):
        self.calls, self.fail_at, self.error, self.largest = 0, fail_at, error, largest

    def __call__(self, x_t, log_snr, y):
        self.calls += 1
        if self.calls == self.fail_at:
            raise self.error
        if self.largest is not None and len(x_t) > self.largest:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
        return 0.9 * x_t + y[:, None, None]


class Up:
    def __call__(self, x, y):
        return x.mean(dim=(1, 2)), torch.ones_like(x)


def guided(inner):
    ones = torch.ones(2)
    return GuidedDenoiser(inner, Up(), multiplier=ones, scale=ones, active=(-9.0, 9.0), trust=0.1)


def job(inner=None, **changes):
    fields = {"process": process(), "denoiser": guided(inner or Shrink()), "y": Y}
    return Job(**(fields | changes))


@pytest.fixture
def clean(tmp_path):
    whole = job()
    return sample_parts(whole, tmp_path / "clean", title="clean"), whole.denoiser.stats


def test_it_is_the_set_of_the_sampler_alone(clean):
    denoiser = guided(Shrink())
    alone = process().run(denoiser, Y, range(10))
    assert torch.equal(clean[0], alone)
    assert clean[1].calls == denoiser.stats.calls > 0
    assert clean[1].shift_rms == pytest.approx(denoiser.stats.shift_rms)


@pytest.mark.parametrize("fail_at", [1, 5, 6, 13])
def test_a_run_that_was_cut_off_goes_on_and_ends_in_the_same_bytes(clean, tmp_path, fail_at):
    with pytest.raises(KeyboardInterrupt):
        sample_parts(job(Shrink(fail_at)), tmp_path / "p", title="cut")
    again = Shrink()
    rest = job(again)
    x = sample_parts(rest, tmp_path / "p", title="again")
    assert x.numpy().tobytes() == clean[0].numpy().tobytes()
    assert again.calls == 15 - 5 * ((fail_at - 1) // 5)  # five levels a batch, three batches
    assert rest.denoiser.stats == clean[1]


def test_shares_made_elsewhere_are_put_together(clean, tmp_path):
    for i in (1, 0):
        assert sample_parts(job(share=(i, 2)), tmp_path / "p", title=f"share {i}") is None
    inner = Shrink()
    merged = job(inner)
    x = sample_parts(merged, tmp_path / "p", title="merge")
    assert inner.calls == 0
    assert x.numpy().tobytes() == clean[0].numpy().tobytes()
    assert merged.denoiser.stats == clean[1]


def test_worker_processes_make_the_same_set(clean, tmp_path):
    x = sample_parts(job(workers=2), tmp_path / "p", title="workers")
    assert x.numpy().tobytes() == clean[0].numpy().tobytes()
    # The same workers, which keep the job that they were handed, and another job.
    other = dataclasses.replace(process(), seed=1)
    alone = sample_parts(job(process=other), tmp_path / "q", title="one")
    x = sample_parts(job(process=other, workers=2), tmp_path / "r", title="workers")
    assert x.numpy().tobytes() == alone.numpy().tobytes() != clean[0].numpy().tobytes()
    assert not list(tmp_path.glob("*/.job-*"))


def _cut(path):
    path.write_bytes(path.read_bytes()[:200])


def _other_shape(path):
    np.savez(path, x=np.zeros((3, *SHAPE), np.float32), sums=np.zeros(5))


def _not_finite(path):
    np.savez(path, x=np.full((4, *SHAPE), np.nan, np.float32), sums=np.zeros(5))


@pytest.mark.parametrize("damage", [_cut, _other_shape, _not_finite])
def test_a_damaged_batch_is_made_again_which_is_said(clean, tmp_path, caplog, damage):
    sample_parts(job(), tmp_path / "p", title="first")
    damage(sorted((tmp_path / "p").iterdir())[0])
    inner = Shrink()
    x = sample_parts(job(inner), tmp_path / "p", title="second")
    assert inner.calls == 5 and torch.equal(x, clean[0])
    assert "made again" in caplog.text


def test_batches_are_halved_until_they_fit(clean, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    x = sample_parts(job(Shrink(largest=1)), tmp_path / "p", title="small")
    torch.testing.assert_close(x, clean[0], rtol=0, atol=1e-6)
    assert "going on with 2 series" in caplog.text and "going on with 1 series" in caplog.text
    with pytest.raises(UserError, match="one series at a time"):
        sample_parts(job(Shrink(largest=0)), tmp_path / "q", title="none")
    with pytest.raises(RuntimeError, match="other"):
        sample_parts(job(Shrink(1, RuntimeError("other"))), tmp_path / "r", title="defect")


def test_all_that_decides_a_set_is_in_its_folders_name(tmp_path):
    network = torch.nn.Linear(2, 2)
    base = {"network": network, "y": Y, "guidance": {"w": 0.5}, "levels": process().levels}
    first = parts_folder(tmp_path, base)
    assert parts_folder(tmp_path, dict(base)) == first
    with torch.no_grad():
        other = torch.nn.Linear(2, 2)
    for change in (
        {"network": other},
        {"y": 1 - Y},
        {"guidance": {"w": 0.6}},
        {"guidance": None},
        {"levels": process().levels.float()},
    ):
        assert parts_folder(tmp_path, base | change) != first


def test_a_calibration_is_found_once(tmp_path):
    outcome = [Calibration(multiplier=0.1 + 0.2, scale=1e-9, requested=None, realised=0.3)]
    path = tmp_path / "calibration.json"
    assert remembered(path, Calibration, lambda: outcome) == outcome
    assert remembered(path, Calibration, lambda: pytest.fail("found twice")) == outcome
    path.write_text("[{")
    assert remembered(path, Calibration, lambda: outcome) == outcome


def test_a_share_makes_every_nth_batch_and_no_other(tmp_path):
    for mine, made in (((1, 2), ["000000004"]), ((0, 2), ["000000000", "000000004", "000000008"])):
        assert sample_parts(job(share=mine), tmp_path, title="share") is None
        assert sorted(path.name[:9] for path in tmp_path.glob("*.npz")) == made


@pytest.mark.parametrize("key", ["generation.shard", "evaluation.shard"])
def test_the_share_is_checked(key):
    tiny = "configs/base/tiny.yaml"
    load_config([tiny, f"{key}=3/4"])
    assert share(key, None) == (0, 1)
    assert share(key, "3/4") == (3, 4)
    for wrong in ("4/4", "1", "-1/2", "a/b", "0/0"):
        with pytest.raises(ConfigError, match=key):
            load_config([tiny, f"{key}={wrong}"])


def test_a_launcher_numbers_the_shares(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="no launcher"):
        load_config(["configs/base/tiny.yaml", "generation.shard=auto"])
    monkeypatch.setenv("SLURM_PROCID", "1")
    with pytest.raises(ConfigError, match="no launcher"):
        share("generation.shard", "auto")
    monkeypatch.setenv("SLURM_NTASKS", "3")
    assert share("generation.shard", "auto") == (1, 3)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert share("generation.shard", "auto") == (0, 2)  # torchrun inside a SLURM job


def test_stats_of_nothing_are_zero():
    assert GuidanceStats().relative_to_step == 0.0
