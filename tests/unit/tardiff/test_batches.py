"""Finished batches survive and are never mixed up: the set is that of one clean run."""

import dataclasses
import logging
from types import SimpleNamespace

import pytest
import torch

from configs.runtime.errors import UserError
from configs.runtime.processes import Processes
from data_preprocess.storage.content_cache import ContentCache
from tardiff.diffusion.quantile_mapping import MarginalMap
from tardiff.generation.batches import Job, sample_batches
from tardiff.generation.reverse_process import ReverseProcess
from tardiff.generation.session import GenerationSession
from tardiff.guidance.guided_denoiser import Guidance, GuidanceStats, Tilt

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


GUIDANCE = Guidance(direction=Up(), gain=Tilt(torch.ones(2), torch.ones(2)), trust=0.1)


def job(denoiser=None, **changes):
    fields = {"process": process(), "denoiser": denoiser or Shrink(), "guidance": GUIDANCE, "y": Y}
    return Job(**(fields | {"key": {"seed": 3}} | changes))


def sample(folder, denoiser=None, workers=1, **changes):
    cache = ContentCache(folder, ("tardiff.generation",))
    return sample_batches(job(denoiser, **changes), cache, Processes(workers), title="test")


@pytest.fixture
def clean(tmp_path):
    return sample(tmp_path / "clean")


def same(found, expected):
    return found.x.numpy().tobytes() == expected.x.numpy().tobytes()


def test_it_is_the_set_of_the_sampler_alone(clean):
    alone = process().run(Shrink(), Y, range(10), GUIDANCE)
    assert same(clean, alone)
    assert clean.stats == alone.stats and clean.stats.calls == 50
    plain = process().run(Shrink(), Y, range(10))
    assert not torch.equal(plain.x, clean.x) and plain.stats == GuidanceStats()


@pytest.mark.parametrize("fail_at", [1, 5, 6, 13])
def test_a_run_that_was_cut_off_goes_on_and_ends_in_the_same_bytes(clean, tmp_path, fail_at):
    with pytest.raises(KeyboardInterrupt):
        sample(tmp_path / "p", Shrink(fail_at))
    again = Shrink()
    rest = sample(tmp_path / "p", again)
    assert again.calls == 15 - 5 * ((fail_at - 1) // 5)  # five levels a batch, three batches
    assert same(rest, clean) and rest.stats == clean.stats


def test_worker_processes_make_the_same_set(clean, tmp_path):
    found = sample(tmp_path / "p", workers=2)
    assert same(found, clean) and found.stats == clean.stats
    # The same workers and another job.
    other = {"process": dataclasses.replace(process(), seed=1), "key": {"seed": 1}}
    alone, found = (sample(tmp_path / name, workers=n, **other) for name, n in (("q", 1), ("r", 2)))
    assert same(found, alone) and not same(found, clean)


def test_another_key_is_another_set(clean, tmp_path):
    inner = Shrink()
    other = process(seed=1)
    sample(tmp_path / "clean", inner, process=other, key={"seed": 1})
    assert inner.calls == 15
    again = sample(tmp_path / "clean", inner)
    assert inner.calls == 15 and same(again, clean)


def test_a_damaged_batch_is_made_again_which_is_said(clean, tmp_path, caplog):
    path = sorted((tmp_path / "clean").iterdir())[0]
    path.write_bytes(path.read_bytes()[:200])
    inner = Shrink()
    found = sample(tmp_path / "clean", inner)
    assert inner.calls == 5 and same(found, clean)
    assert "computed again" in caplog.text


class Removing(Shrink):
    """Removes finished batches, as a run beside this one does at its end."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __call__(self, x_t, log_snr, y):
        if self.calls == 14:
            for path in self.folder.iterdir():
                path.unlink()
        return super().__call__(x_t, log_snr, y)


def test_batches_that_another_run_removed_are_made_again(clean, tmp_path):
    assert same(sample(tmp_path / "p", Removing(tmp_path / "p")), clean)


def test_batches_are_halved_until_they_fit(clean, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    found = sample(tmp_path / "p", Shrink(largest=1))
    torch.testing.assert_close(found.x, clean.x, rtol=0, atol=1e-6)
    assert found.stats.calls == clean.stats.calls
    assert "going on with 2 series" in caplog.text and "going on with 1 series" in caplog.text
    with pytest.raises(UserError, match="one series at a time"):
        sample(tmp_path / "q", Shrink(largest=0))
    with pytest.raises(RuntimeError, match="other"):
        sample(tmp_path / "r", Shrink(1, RuntimeError("other")))


def model(weight=0.0, **changes):
    network = torch.nn.Linear(2, 2, bias=False)
    torch.nn.init.constant_(network.weight, weight)
    fields = {"network": network, "network_args": {}, "prediction": "v"}
    return SimpleNamespace(**(fields | changes))


@pytest.mark.parametrize(
    "change",
    [
        {"model": model(1.0)},
        {"model": model(network_args={"width": 8})},
        {"model": model(prediction="x0")},
        {"cfg_scale": 2.0},
        {"process": process(sampler="ddim")},
        {"process": process(eta=0.5)},
        {"process": process(levels=torch.linspace(-6, 6, 6, dtype=torch.float64))},
        {"process": process(seed=4)},
        {"process": process(batch_size=5)},
        {"process": process(finish=MarginalMap(1, 4, masks=True))},
    ],
)
def test_batches_of_an_interrupted_run_are_not_those_of_other_settings(change):
    common = {"model": model(), "process": process(), "cfg_scale": 1.0}
    keys = [
        GenerationSession._key.func(SimpleNamespace(**(common | changed)))
        for changed in ({}, {"model": model()}, change)
    ]
    assert keys[0] == keys[1] != keys[2]


def test_stats_of_nothing_are_zero():
    assert GuidanceStats().relative_to_step == GuidanceStats().shift_rms == 0.0
