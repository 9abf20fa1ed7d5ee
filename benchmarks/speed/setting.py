"""Setting: the untrained parts of a configuration, for series of any shape."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from classifier.losses import per_sample_loss
from classifier.models.registry import build_model
from configs import load_config
from configs.schema.experiment import ExperimentConfig
from data_preprocess.model_space.encoding import EncodedSeries
from tardiff.diffusion.auto_batch_size import sampling_rows
from tardiff.diffusion.denoiser import NetworkDenoiser
from tardiff.diffusion.noise_schedule import log_snr_grid
from tardiff.generation.reverse_process import ReverseProcess
from tardiff.guidance.directions import Direction
from tardiff.guidance.guided_denoiser import Guidance, Tilt, active_levels
from tardiff.influence.convex_guide import ConvexInfluence, LabelledDesign, design, fit_guide
from tardiff.influence.guidance_gradient import guidance_gradient
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.input_gradient import InfluenceDirection
from tardiff.influence.series_features import fit_features
from tardiff.networks.registry import build_network, network_arguments
from tardiff.train import objective_of
from tardiff.training.module import DiffusionModule, SeriesBatch

CLASSES = 2
POOL_ROWS = 1024  # that a convex guide is fitted on
# What "default" means here: the demo's U-Net and its cheap guide.
DEFAULT = ("configs/base/demo.yaml", "diffusion.network=unet", "diffusion.width=32")


@dataclass(frozen=True)
class Shape:
    """Of the series: channels and grid points."""

    channels: int
    length: int


class Setting:
    """A config's networks on `device`.

    Args:
        argv: as of `load_config`.
    """

    def __init__(self, argv: list[str], shape: Shape, device: torch.device) -> None:
        self.config: ExperimentConfig = load_config(argv)
        self.shape, self.device = shape, device
        torch.manual_seed(0)
        self.network = self._network().to(device)
        self.sampling_rows = sampling_rows(
            self.network, shape.channels, shape.length, asked=self.config.sampler.batch_size
        )
        self.guide = build_model(
            self.config.classifier.model,
            self.config.classifier.model_args,
            in_channels=shape.channels,
            length=shape.length,
            num_outputs=1,
        ).eval()

    @property
    def parameters(self) -> int:
        """Weights of the denoising network."""
        return sum(p.numel() for p in self.network.parameters())

    def series(self, rows: int) -> tuple[Tensor, Tensor]:
        """Random series and labels, one positive in eight, on the CPU."""
        x = torch.randn(rows, self.shape.channels, self.shape.length)
        return x, (torch.arange(rows) % 8 == 0).long()

    def module(self, rows: int, batch: int) -> DiffusionModule:
        """The training of a fresh network on `rows` series, `batch` at a time."""
        x, y = self.series(rows)
        data = SeriesBatch(x, torch.ones_like(x, dtype=torch.bool), y)
        objective = objective_of(self.config.diffusion, batch_size=batch)
        return DiffusionModule(self._network(), data, data, objective, seed=0)

    def direction(self) -> Direction:
        """Influence along a G of 256 rows, by the configured estimator."""
        known, loss = EncodedSeries(*self.series(256)), GuidanceLoss("nll", CLASSES)
        if self.config.influence.estimator != "classifier":
            return self._convex(known, loss)
        model = self.guide
        g = guidance_gradient(model.cpu(), known.x, known.y, loss)
        return InfluenceDirection(model.to(self.device), per_sample_loss, g)

    def _convex(self, known: EncodedSeries, loss: GuidanceLoss) -> Direction:
        influence, (x, y) = self.config.influence, self.series(POOL_ROWS)
        kernels, penalty = influence.kernels, influence.penalty
        features = fit_features(x, view=lambda part: part, kernels=kernels, seed=0).to(self.device)
        guide = fit_guide(design(features, x), y, num_classes=CLASSES, penalty=penalty)
        g = guide.gradient(LabelledDesign(design(features, known.x), known.y), loss)
        return ConvexInfluence(features, guide.theta, guide.toward(g))

    def plain(self) -> NetworkDenoiser:
        """The unguided denoiser."""
        network = self.network.eval()
        return NetworkDenoiser(network, prediction=self.config.diffusion.prediction)

    def guidance(self) -> Guidance:
        """Guidance at multiplier 1, in the configured interval."""
        first, last = self.config.guidance.interval
        return Guidance(
            direction=self.direction(),
            gain=Tilt(torch.ones(CLASSES), torch.ones(CLASSES)),
            active=active_levels(self.process(1).levels, (first, last)),
            trust=self.config.guidance.trust,
        )

    def process(self, largest: int) -> ReverseProcess:
        """The configured sampler, at most `largest` series at a time."""
        sampler = self.config.sampler
        return ReverseProcess(
            sampler=sampler.name,
            levels=log_snr_grid(sampler.num_steps, sampler.log_snr_min, sampler.log_snr_max),
            shape=(self.shape.channels, self.shape.length),
            seed=0,
            batch_size=min(largest, self.sampling_rows),
            device=self.device,
            eta=sampler.eta,
        )

    def _network(self) -> nn.Module:
        return build_network(
            network_arguments(
                self.config.diffusion,
                in_channels=self.shape.channels,
                num_classes=CLASSES,
            )
        )
