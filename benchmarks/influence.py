"""What influence costs: guided against unguided sampling, and G.

    python -m benchmarks.influence sampling
    python -m benchmarks.influence vector

One thread, CPU seconds; the two sides of every ratio take turns within one run, and the ratio is
that of the fastest rounds. Weights are untrained, which does not change the time. Prints Markdown
rows.
"""

import argparse
import resource
import time

import torch
from torch import Tensor, nn

from classifier.losses import per_sample_loss
from classifier.models.networks import RNNClassifier
from configs.schema.experiment import DiffusionConfig, GuidanceConfig, SamplerConfig
from scripts.influence_report.overhead import sampling_seconds, take_turns
from tardiff.diffusion.auto_batch_size import sampling_rows
from tardiff.diffusion.denoiser import NetworkDenoiser
from tardiff.diffusion.noise_schedule import log_snr_grid
from tardiff.generation.reverse_process import ReverseProcess
from tardiff.influence.guidance_gradient import guidance_gradient
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.input_gradient import InfluenceDirection
from tardiff.networks.unet1d import UNet1D

CLOCK = time.process_time  # CPU seconds: wall time on a shared machine says little
GUIDES = {"gru, 2 layers (default)": {}, "lstm, 1 layer": {"cell": "lstm", "layers": 1}}


def series(rows: int, channels: int, length: int) -> tuple[Tensor, Tensor]:
    """Random series and labels, one positive in eight."""
    return torch.randn(rows, channels, length), (torch.arange(rows) % 8 == 0).long()


def sampling(given: argparse.Namespace) -> None:
    """Seconds per series with and without guidance, all defaults, 24 x 7."""
    diffusion, settings = DiffusionConfig(), SamplerConfig()
    network = UNet1D(
        in_channels=given.channels,
        num_classes=2,
        width=diffusion.width,
        multipliers=diffusion.multipliers,
        blocks_per_level=diffusion.blocks_per_level,
        heads=diffusion.heads,
        patch=diffusion.patch,
    ).eval()
    plain = NetworkDenoiser(network, prediction="v", cfg_scale=1.0)
    levels = log_snr_grid(settings.num_steps, settings.log_snr_min, settings.log_snr_max)
    run = ReverseProcess(
        sampler=settings.name,
        levels=levels,
        shape=(given.channels, given.length),
        seed=0,
        batch_size=sampling_rows(network, given.channels, given.length),
        device=torch.device("cpu"),
    )
    y = torch.arange(given.rows) % 2
    interval = GuidanceConfig().interval
    for name, arguments in GUIDES.items():
        model = RNNClassifier(given.channels, given.length, 1, **arguments).eval()
        guide = series(256, given.channels, given.length)
        g = guidance_gradient(model, *guide, GuidanceLoss("rank", 2))
        seconds = sampling_seconds(
            run,
            plain,
            InfluenceDirection(model, per_sample_loss, g),
            y,
            scale=1.0,
            interval=(interval[0], interval[1]),
            rounds=given.rounds,
            clock=CLOCK,
        )
        plainly, guided = 1000 * seconds["unguided"], 1000 * seconds["guided"]
        print(f"| {name} | {plainly:.2f} | {guided:.2f} | {guided / plainly:.2f} |")


def vector(given: argparse.Namespace) -> None:
    """G over many rows: extra peak memory, and seconds against one training epoch."""
    x, y = series(given.rows, given.channels, given.length)
    model = RNNClassifier(given.channels, given.length, 1).eval()
    guidance_gradient(model, x[:512], y[:512], GuidanceLoss("rank", 2))  # libraries wake up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = CLOCK()
    guidance_gradient(model, x, y, GuidanceLoss("rank", 2))
    once = CLOCK() - start
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    seconds = take_turns(
        {
            "epoch": lambda: _epoch(model, x, y),
            "vector": lambda: guidance_gradient(model, x, y, GuidanceLoss("rank", 2)),
        },
        given.rounds,
        CLOCK,
    )
    ratio = seconds["vector"] / seconds["epoch"]
    print(
        f"| {given.rows} x {given.length} x {given.channels} | {extra:.0f} "
        f"| {seconds['vector']:.1f} (first {once:.1f}) | {seconds['epoch']:.1f} | {ratio:.2f} |"
    )


def _epoch(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """One plain epoch of Adam, batches of 64."""
    model.train()
    adam = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for rows in torch.randperm(len(y)).split(64):
        adam.zero_grad()
        per_sample_loss(model(x[rows]), y[rows]).mean().backward()
        adam.step()
    model.eval()


def main() -> None:
    """Runs one of the two measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    modes = {"sampling": (sampling, 512), "vector": (vector, 20000)}
    parser.add_argument("what", choices=modes)
    parser.add_argument("--length", type=int, default=24)
    parser.add_argument("--channels", type=int, default=7)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    run, rows = modes[given.what]
    given.rows = given.rows or rows
    run(given)


if __name__ == "__main__":
    main()
