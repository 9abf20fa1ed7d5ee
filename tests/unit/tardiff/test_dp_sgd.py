"""Differentially private training: bound, noise, draws and accounting hold, and are told."""

import dataclasses
import logging
import math
import sys
from types import SimpleNamespace

import dp_accounting
import numpy as np
import pytest
import torch
from dp_accounting.rdp import RdpAccountant

from configs import load_config
from configs.run_record import read_mapping, write_mapping
from configs.runtime.errors import ConfigError, DataError, UserError
from configs.runtime.torch_files import load_plain, save_plain
from data_preprocess.build import ensure_built, load_splits
from tardiff.from_config import load, resamples, session_of
from tardiff.generate import main as generate
from tardiff.networks.unet1d import UNet1D
from tardiff.privacy.accountant import Privacy, after, planned, privacy_lines
from tardiff.privacy.noise import secret_generator
from tardiff.train import main as train_main
from tardiff.train import train
from tardiff.training import dp_sgd as private_training
from tardiff.training.callbacks import shown_losses
from tardiff.training.checkpoint import load_model
from tardiff.training.dp_sgd import PrivateDiffusionModule, patient_codes
from tardiff.training.module import SeriesBatch
from tests.support.small_objective import objective
from tests.support.tiny_runs import tiny_arguments

PRIVATE = (
    "diffusion.private.epsilon=8",
    "diffusion.class_balanced=false",
    "diffusion.width=8",
    "diffusion.precision=32-true",
    "diffusion.marginal_rows=0",
    "diffusion.max_steps=8",
    "diffusion.val_every=4",
)
OBJECTIVE = objective(label_dropout=0.0, class_balanced=False, batch_size=10)


def module(rows=20, *, patients=None, rate=1.0, noise=0.0, bound=0.05):
    torch.manual_seed(0)
    x = torch.randn(rows, 2, 8)
    data = SeriesBatch(x, torch.rand(rows, 2, 8) > 0.3, torch.arange(rows) % 2)
    network = UNet1D(2, 2, width=16)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    patients = np.arange(rows) if patients is None else patients
    plan = Privacy(
        epsilon=1.0,
        delta=1e-3,
        noise_multiplier=noise,
        max_grad_norm=bound,
        sample_rate=rate,
        steps=10,
        patients=int(patients.max()) + 1,
    )
    m = PrivateDiffusionModule(network, data, data, OBJECTIVE, seed=0, patients=patients, plan=plan)
    m.trainer = SimpleNamespace(
        max_steps=10, world_size=1, global_step=0, optimizers=[], precision="32-true"
    )
    m.trainer.optimizers = [m.configure_optimizers()["optimizer"]]
    return m


def released(m, closure):
    """What the optimiser is given in a step whose loss `closure` makes: the noised mean."""
    optimizer = m.trainer.optimizers[0]
    closure()
    optimizer.pre_step()
    return torch.cat([p.grad.flatten() for p in m.network.parameters()])


def fixed_draws(m):
    """The same levels, noise and labels for a row, whatever its batch."""

    def losses(network, x_0, observed, y, generator):
        levels = 4 * x_0.mean(dim=(1, 2))
        return (network(x_0, levels, y) - 1).square().sum(dim=(1, 2)) * (1 + y)

    m._losses = losses
    return m


@pytest.mark.filterwarnings("ignore:Full backward hook")
@pytest.mark.parametrize("chunk", [64, 8])
def test_every_stay_is_bounded_as_in_a_loop_over_stays(chunk, monkeypatch):
    monkeypatch.setattr(private_training, "CHUNK", chunk)
    rows = 20
    m = fixed_draws(module(rows))
    m._draw_stays = lambda generator: torch.arange(rows)
    found = released(m, lambda: m.training_step(None, 0).backward())
    m._hooks[0].disable_hooks()
    total, clipped = torch.zeros_like(found), 0
    for row in range(rows):
        m.network.zero_grad()
        m._summed_loss(torch.tensor([row]), torch.Generator()).backward()
        gradient = torch.cat([p.grad.flatten() for p in m.network.parameters()])
        clipped += gradient.norm() > m.plan.max_grad_norm
        total += gradient * min(1.0, m.plan.max_grad_norm / float(gradient.norm()))
    assert clipped > rows / 2
    torch.testing.assert_close(found, total / OBJECTIVE.batch_size, rtol=1e-3, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_every_chunk_has_noise_of_its_own_on_a_gpu_too(monkeypatch):
    monkeypatch.setattr(private_training, "CHUNK", 8)
    m, noises, losses = module(20), [], PrivateDiffusionModule._losses
    m._draw_stays = lambda generator: torch.arange(20)

    def as_on_a_gpu(network, x_0, observed, y, generator):
        # As `_on_device` makes a generator of another device.
        noises.append(
            torch.randn(4, generator=torch.Generator().manual_seed(generator.initial_seed()))
        )
        return losses(m, network, x_0, observed, y, generator)

    m._losses = as_on_a_gpu
    m.training_step(None, 0)
    assert len(torch.stack(noises).unique(dim=0)) == len(noises) == 3


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_the_noise_is_the_multiplier_times_the_bound():
    m = module(noise=3.0, bound=0.5)
    m._losses = lambda network, x, observed, y, g: network(x, x.sum((1, 2)), y).sum((1, 2)) * 0.0
    found = released(m, lambda: m.training_step(None, 0).backward())
    expected = 3.0 * 0.5 / OBJECTIVE.batch_size
    assert len(found) > 10_000
    assert abs(found.std().item() / expected - 1) < 5 / math.sqrt(2 * len(found))
    assert abs(found.mean().item()) < 5 * expected / math.sqrt(len(found))
    again = released(m, lambda: m.training_step(None, 0).backward())
    assert not torch.equal(found, again)


def test_the_learning_rate_is_that_of_any_training():
    factor = module().configure_optimizers()["lr_scheduler"]["scheduler"].lr_lambdas[0]
    assert [factor(step) for step in (0, 1, 10)] == pytest.approx([0.5, 1.0, 0.1])


def test_a_step_in_which_nobody_is_drawn_is_noise_alone():
    m = module(noise=1.0, bound=1.0)
    m._draw_stays = lambda generator: torch.zeros(0, dtype=torch.long)
    found = released(m, lambda: m.training_step(None, 0).backward())
    assert abs(found.std().item() * OBJECTIVE.batch_size - 1) < 0.05


def test_patients_not_stays_are_drawn_and_one_stay_of_each():
    patients = patient_codes(np.array([7, 7, 7, 9, 9, 4, 30, 31, 32, 33]))
    m = module(10, patients=patients, rate=0.4)
    assert m.plan.patients == 7
    drawn = [m._draw_stays(torch.Generator().manual_seed(s)) for s in range(4000)]
    by_patient = [torch.from_numpy(patients)[rows] for rows in drawn]
    assert all(len(codes.unique()) == len(codes) for codes in by_patient)
    share = torch.cat(by_patient).bincount(minlength=7) / 4000
    assert (share - 0.4).abs().max() < 0.05
    stays = torch.cat(drawn).bincount(minlength=10)[:3] / 4000  # of the first patient
    assert (stays - 0.4 / 3).abs().max() < 0.04
    sizes = torch.tensor([float(len(rows)) for rows in drawn])
    assert abs(sizes.var().item() - 7 * 0.24) < 0.2  # Poisson sampling, no batches of one size


def test_the_level_of_a_stay_does_not_depend_on_who_else_was_drawn():
    m = module()
    few, many = (m._draw_levels(n, torch.Generator().manual_seed(1)) for n in (3, 9))
    # Stratified levels would all move with the size of the batch.
    assert torch.equal(few[:1], many[:1]) and torch.equal(few, many[:3])


@pytest.mark.parametrize(
    ("epsilon", "batch", "patients", "steps"), [(1.0, 50, 1000, 500), (8.0, 64, 700, 3000)]
)
def test_epsilon_is_that_of_an_independent_accountant(epsilon, batch, patients, steps):
    plan = planned(
        epsilon=epsilon,
        delta=1e-5,
        max_grad_norm=1.0,
        batch_size=batch,
        steps=steps,
        patients=patients,
    )
    assert 0.99 * epsilon < plan.epsilon <= epsilon
    for done in (steps, steps // 2):
        gaussian = dp_accounting.GaussianDpEvent(plan.noise_multiplier)
        sampled = dp_accounting.PoissonSampledDpEvent(batch / patients, gaussian)
        relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
        other = RdpAccountant(neighboring_relation=relation)
        other.compose(dp_accounting.SelfComposedDpEvent(sampled, done))
        assert abs(after(plan, done).epsilon / other.get_epsilon(1e-5) - 1) < 0.02


def test_a_training_that_stops_early_has_spent_less():
    m = module(noise=1.0, rate=0.5)
    m.trainer.global_step = 3
    assert m.spent() == after(m.plan, 3) and m.spent().steps == 3 < m.plan.steps


@pytest.fixture(scope="module")
def private_run(tmp_path_factory):
    root = tmp_path_factory.mktemp("private")
    arguments = tiny_arguments(root, *PRIVATE, "generation.unguided_too=false")
    config = load_config([*arguments, "guidance.kind=none"])
    train_main(config)
    generate(config)
    return root, config


def test_model_record_set_and_card_tell_the_promise(private_run):
    root, _ = private_run
    folder = root / "runs" / "tiny"
    model = load_model(folder / "diffusion" / "model.pt", "train")
    assert model.privacy is not None and model.privacy.steps == 8
    assert 7.9 < model.privacy.epsilon <= 8
    assert model.privacy.delta < 1 / model.privacy.patients
    assert f'"noise_multiplier": {model.privacy.noise_multiplier}' in (
        (folder / "record.json").read_text()
    )
    card = (folder / "synthetic" / "unguided.card.md").read_text()
    assert f"({model.privacy.epsilon:.3g}, {model.privacy.delta:.3g})-differential" in card
    for outside in ("normaliser", "per class", "val_select", "search for copies"):
        assert outside in card.split("not covered by it")[1].splitlines()[0]
    assert "does not hold" not in card
    # The loss of the protected stays is no part of the promise, so it is not written down.
    rows = (folder / "diffusion" / "log.csv").read_text().splitlines()[1:]
    assert rows and all(row.split(",")[1] == "nan" for row in rows)


def test_a_private_model_is_not_resampled_whatever_the_config_says_of_it(private_run):
    """Resampling reads the protected stays; the key that made the model private may be gone."""
    _, config = private_run
    plain = dataclasses.replace(config.diffusion.private, epsilon=None)
    config = dataclasses.replace(
        config, diffusion=dataclasses.replace(config.diffusion, private=plain)
    )
    assert resamples(config) and not session_of(load(config)).resampled
    always = dataclasses.replace(config.generation, resample="always")
    with pytest.raises(ConfigError, match="leave it at auto"):
        session_of(load(dataclasses.replace(config, generation=always)))


def test_the_progress_bar_tells_no_training_loss_and_no_nan():
    measured = {"val_loss": torch.tensor(0.25)}
    assert shown_losses(measured, 0.5) == {"loss": "0.5000", "val": "0.2500"}
    assert shown_losses(measured, module().last_loss) == {"val": "0.2500"}
    assert shown_losses({}, module().last_loss) == {}


def test_a_guided_set_says_that_the_promise_does_not_hold(private_run):
    root, _ = private_run
    model = load_model(root / "runs" / "tiny" / "diffusion" / "model.pt", "train")
    diffusion = {"privacy": dataclasses.asdict(model.privacy)}
    facts = {"diffusion": diffusion, "copies": None, "guidance": {"score": "influence"}}
    text = "\n".join(privacy_lines(facts))
    assert "does not hold for it" in text and "search for copies" not in text
    assert "none" in privacy_lines({"diffusion": {}, "copies": None, "guidance": None})[0]


def test_a_resumed_training_counts_the_steps_before(tmp_path):
    arguments = tiny_arguments(tmp_path, *PRIVATE)
    config = load_config(arguments)
    ensure_built(config.data)
    splits, folder = load_splits(config.data), tmp_path / "run"
    stopped = dataclasses.replace(config.diffusion, max_steps=4)
    half = train(dataclasses.replace(config, diffusion=stopped), splits, folder).privacy
    whole = train(config, splits, folder).privacy
    assert half is not None and whole is not None
    assert (half.steps, whole.steps) == (4, 8)
    assert whole.epsilon == after(whole, 8).epsilon > after(whole, 4).epsilon


@pytest.mark.parametrize(
    "wrong",
    ["diffusion.class_balanced=true", "diffusion.precision=bf16-mixed"],
)
def test_what_the_accounting_does_not_cover_is_refused(wrong):
    with pytest.raises(ConfigError, match=wrong.split("=")[0]):
        load_config(["configs/base/tiny.yaml", *PRIVATE, wrong])


def test_unknown_patients_and_batches_beyond_them_are_refused():
    with pytest.raises(DataError, match="which patient"):
        patient_codes(np.array([1, -1]))
    with pytest.raises(UserError, match=r"lower diffusion\.batch_size"):
        planned(epsilon=1.0, delta=None, max_grad_norm=1.0, batch_size=9, steps=1, patients=8)


def test_several_processes_are_refused():
    m = module()
    m.trainer.world_size = 2
    with pytest.raises(UserError, match="devices=1"):
        m.setup("fit")


def test_without_opacus_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus.accountants", None)
    monkeypatch.setitem(sys.modules, "opacus.accountants.utils", None)
    with pytest.raises(UserError, match=r"\.\[dp\]"):
        planned(epsilon=1.0, delta=None, max_grad_norm=1.0, batch_size=2, steps=1, patients=8)


def test_a_model_file_with_a_damaged_promise_is_refused(private_run, tmp_path):
    root, _ = private_run
    content = load_plain(root / "runs" / "tiny" / "diffusion" / "model.pt", "model")
    for change in ({"epsilon": float("nan")}, {"steps": "many"}, {"more": 1}):
        save_plain(tmp_path / "x.pt", content | {"privacy": content["privacy"] | change})
        with pytest.raises(DataError, match="privacy of a model"):
            load_model(tmp_path / "x.pt", "train")


def test_a_model_without_privacy_is_as_before(tmp_path, caplog):
    """A model from before there was the key stays up to date."""
    caplog.set_level(logging.INFO)
    config = load_config(tiny_arguments(tmp_path, "diffusion.max_steps=4", "diffusion.val_every=2"))
    train_main(config)
    folder = tmp_path / "runs" / "tiny" / "diffusion"
    settings = read_mapping(folder / "settings.json")
    del settings["diffusion"]["private"]
    write_mapping(folder / "settings.json", settings)
    assert load_model(folder / "model.pt", "train").privacy is None
    train_main(config)
    assert "up to date" in caplog.text


def test_the_secret_generator_is_no_seed_of_32_bits():
    """A seeded twister fills its state by a recurrence from one word; whoever tries all 2^32 first
    words finds the noise. Ours does not obey it, draws uniforms, and never the same."""

    def words(generator):
        raw = generator.get_state()[24 : 24 + 8 * 624].numpy().tobytes()
        return np.frombuffer(raw, np.uint64)

    def obeys(state):
        first, second = int(state[0]), int(state[1])
        return second == (1812433253 * (first ^ (first >> 30)) + 1) % 2**32

    assert obeys(words(torch.Generator().manual_seed(5)))
    one, other = (secret_generator(torch.device("cpu")) for _ in range(2))
    assert not obeys(words(one)) and len(set(words(one).tolist())) > 600
    drawn = torch.rand(20_000, generator=one)
    assert abs(float(drawn.mean()) - 0.5) < 0.01 and abs(float(drawn.std()) - 12**-0.5) < 0.01
    assert not torch.equal(drawn, torch.rand(20_000, generator=other))
    normal = torch.randn(20_000, generator=other)
    assert abs(float(normal.std()) - 1) < 0.03
