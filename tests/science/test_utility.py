"""T11 of docs/method.md: does guidance make the toy's downstream model better, and w < 0 worse?

The generator is the exact denoiser of a kernel density over the 400 training series, so nothing
but guidance differs between the sets. Real + 200 + 200 synthetic series train it (TSRTR);
AUROC on 4,000 test series, mean of 3 generations x 2 trainings, 8 data sets.
`bash scripts/test.sh --slow tests/science/test_utility.py -s` prints the table.
"""

import numpy as np
import pytest
import torch

from classifier.losses import per_sample_loss
from tardiff.diffusion.noise_schedule import log_snr_grid
from tardiff.generation.reverse_process import ReverseProcess
from tardiff.guidance.calibration import unguided_scale
from tardiff.guidance.diagnostics import score_all
from tardiff.guidance.guided_denoiser import Guidance, Tilt, active_levels
from tardiff.influence.guidance_gradient import guidance_gradient
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.input_gradient import InfluenceDirection
from tardiff.influence.preconditioner import precondition
from tests.support.oracles import KernelDenoiser
from tests.support.toy_task import CHANNELS, LENGTH, auroc, logits_of, make_task, member, train_many

HIDDEN, WIDTH, GENERATIONS, TRAININGS = 16, 0.3, 3, 2
STRENGTHS = (-1.0, 0.0, 0.5)
LABELS = torch.arange(2).repeat_interleave(200)


def direction_of(task):
    """Influence on the rank loss of the guidance set, Gauss-Newton preconditioned."""
    x, y = task.train
    model = member(train_many(x, y, torch.ones(1, len(y)), [1000], hidden=HIDDEN), 0).float()
    g = guidance_gradient(model, *task.guide, GuidanceLoss("rank", 2))
    solved, _ = precondition(model, g, x, damping=0.015, iterations=20)
    return InfluenceDirection(model, per_sample_loss, solved)


def sample(denoiser, seed, guidance=None):
    run = ReverseProcess(
        sampler="dpmpp_2m",
        levels=log_snr_grid(25, -10.0, 9.0),
        shape=(CHANNELS, LENGTH),
        seed=seed,
        batch_size=200,
        device=torch.device("cpu"),
    )
    return run.run(denoiser, LABELS, range(len(LABELS)), guidance).x


def tsrtr(task, synthetic):
    """AUROC of downstream models trained on real + synthetic series."""
    x, y = (torch.cat(pair) for pair in zip(task.train, (synthetic.float(), LABELS), strict=True))
    phi = train_many(x, y, torch.ones(TRAININGS, len(y)), list(range(TRAININGS)), hidden=HIDDEN)
    return float(auroc(logits_of(phi, task.test[0].flatten(1)), task.test[1]).mean())


def scores_of(seed):
    task = make_task(seed)
    plain, direction = KernelDenoiser(*task.train, WIDTH), direction_of(task)
    pilot = score_all(direction, sample(plain, 10_000), LABELS, torch.device("cpu"))
    scale = torch.tensor([unguided_scale(pilot[LABELS == k]) for k in (0, 1)])
    levels = log_snr_grid(25, -10.0, 9.0)

    def at(w):
        guided = Guidance(
            direction=direction,
            gain=Tilt(torch.tensor([w, w]), scale),
            active=active_levels(levels, (0.2, 0.8)),
            trust=1.0,
        )
        return np.mean([tsrtr(task, sample(plain, seed, guided)) for seed in range(GENERATIONS)])

    return [at(w) for w in STRENGTHS]


@pytest.mark.slow
def test_t11_guidance_helps_and_its_opposite_hurts():
    scores = np.array([scores_of(seed) for seed in range(8)])
    print("\nTSRTR AUROC: data set,", ", ".join(f"w = {w:+g}" for w in STRENGTHS))
    for seed, row in enumerate(scores):
        print(f"  {seed}: " + " ".join(f"{value:.3f}" for value in row))
    against, unguided, guided = scores.T
    for name, gap in (("w = -1", against - unguided), ("w = 0.5", guided - unguided)):
        error = gap.std(ddof=1) / len(gap) ** 0.5
        print(f"  {name} minus unguided: {gap.mean():+.4f} +- {error:.4f}, {(gap > 0).sum()}/8")
    assert (guided > unguided).sum() >= 6
    assert (against < unguided).sum() >= 7
