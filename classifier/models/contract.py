"""require_classifier: does a module keep the contract that influence needs of a classifier?

The probes run the module on tiny batches on the CPU and put its weights, buffers, mode and the
caller's random state back afterwards. Whatever breaks the contract is said in one sentence, before
anything is trained: guidance by a classifier without a gradient would do nothing, silently.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from configs.runtime.errors import ConfigError

ROW_TOLERANCE = 1e-4  # float32 kernels may differ a little between batch sizes
_STEP = 1e-2  # of the central difference, in standard deviations of the input
_WORST_GRADIENT = 0.3  # relative error; single precision costs a few per cent
_DRAWS = 4  # of random weights: logits leave [0, 1] under some of them, probabilities never


def require_classifier(
    model: nn.Module, path: str, *, in_channels: int, length: int, num_outputs: int
) -> None:
    """Raises ConfigError unless `model` gives (batch, num_outputs) logits, row by row.

    A row must not change with its batch mates, neither in eval mode nor, given the same random
    numbers, in training mode (where BatchNorm would mix the batch). All layers are there from the
    start and in single precision, the input is left as it is, the output is no probability, and
    the gradient with respect to the series is that of the output.
    """
    probe = _Probe(model, path, (in_channels, length), num_outputs)
    probe.require_made()
    was_training = model.training
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.no_grad():
                probe.require_shape()
                probe.require_independent_rows(saved)
                probe.require_logits()
                model.load_state_dict(saved)
            probe.require_gradient()
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
            if isinstance(error, ConfigError):
                raise
            first = str(error).strip().splitlines() or [type(error).__name__]
            raise probe.refusal(f"it fails on a batch of {probe.shape}: {first[0]}") from error
        finally:
            model.zero_grad(set_to_none=True)
            if saved.keys() == model.state_dict().keys():
                model.load_state_dict(saved)
    model.train(was_training)


@dataclass(frozen=True)
class _Probe:
    model: nn.Module
    path: str
    shape: tuple[int, int]
    num_outputs: int

    def refusal(self, what: str) -> ConfigError:
        """The error that names the class and what is wrong with it."""
        return ConfigError(f"classifier.model={self.path!r}: {what}")

    def series(self, rows: int, *, scale: float = 1.0, seed: int = 0) -> Tensor:
        """Standard normal series, the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        return scale * torch.randn(rows, *self.shape, generator=generator)

    def require_made(self) -> None:
        """All parameters are there, can be trained and are of single precision."""
        parameters = list(self.model.parameters())
        every = [*parameters, *self.model.buffers()]
        if any(isinstance(item, (UninitializedParameter, UninitializedBuffer)) for item in every):
            raise self.refusal(_LAZY)
        kinds = {item.dtype for item in every if item.is_floating_point()} - {torch.float32}
        if kinds:
            raise self.refusal(
                f"it holds weights of {', '.join(sorted(map(str, kinds)))}; expected torch.float32 "
                "throughout - leave out .double() and .half()"
            )

    def require_shape(self) -> None:
        """Logits of the right shape and type; the input stays, and no layer is made on the way."""
        names = [name for name, _ in self.model.named_parameters()]
        self.model.eval()
        batch = torch.zeros(2, *self.shape)
        logits = self.model(batch)
        if [name for name, _ in self.model.named_parameters()] != names:
            raise self.refusal(_LAZY)
        if not any(item.requires_grad for item in self.model.parameters()):
            raise self.refusal("it has no parameter that can be trained")
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if got != (2, self.num_outputs):
            raise self.refusal(
                f"for a batch of shape {(2, *self.shape)} it returned {got}, expected logits of "
                f"shape {(2, self.num_outputs)} (batch, num_outputs)"
            )
        if logits.dtype != torch.float32:
            raise self.refusal(f"its logits are {logits.dtype}; expected torch.float32")
        if not torch.isfinite(logits).all():
            raise self.refusal("a batch of zeros gives non-finite logits")
        batch = self.series(2)
        before = batch.clone()
        self.model(batch)
        if not torch.equal(batch, before):
            raise self.refusal(
                "it changes its input in place; work on a copy (x = x - x.mean(...) in place of "
                "x -= x.mean(...))"
            )

    def require_independent_rows(self, saved: Mapping[str, Tensor]) -> None:
        """A row does not change with the rest of its batch."""
        row, *mates = self.series(5).split([1, 2, 2])
        first, second = torch.cat([row, mates[0]]), torch.cat([row, mates[1]])
        for training, left, right in ((False, row, first), (True, first, second)):
            self.model.train(training)
            a, b = (_first_row(self.model, batch, saved) for batch in (left, right))
            if not torch.allclose(a, b, rtol=ROW_TOLERANCE, atol=ROW_TOLERANCE):
                raise self.refusal(
                    f"in {'training' if training else 'eval'} mode the logits of a series change "
                    f"with the rest of its batch ({a.tolist()} against {b.tolist()}). The "
                    "influence of one series needs independent rows: replace BatchNorm and other "
                    "batch statistics by GroupNorm or LayerNorm"
                )

    def require_logits(self) -> None:
        """The outputs leave [0, 1] for some input or some weights."""
        self.model.eval()
        batch = torch.cat([self.series(8), self.series(8, scale=30.0, seed=1)])
        generator = torch.Generator().manual_seed(0)
        for _ in range(_DRAWS):
            outputs = self.model(batch)
            if not ((outputs >= 0) & (outputs <= 1)).all():
                return
            sums = outputs.sum(dim=1)
            if self.num_outputs > 1 and not torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
                return
            for item in self.model.parameters():
                item.copy_(2 * torch.randn(item.shape, generator=generator))
        raise self.refusal(
            "its outputs are probabilities (within [0, 1] whatever the weights); expected logits - "
            "leave out the sigmoid or softmax at the end"
        )

    def require_gradient(self) -> None:
        """The gradient with respect to the series agrees with a central difference."""
        self.model.eval()
        batch = self.series(16, seed=2).requires_grad_()
        outputs = self.model(batch)
        if not outputs.requires_grad:
            raise self.refusal(_NO_GRADIENT)
        (gradient,) = torch.autograd.grad(outputs.sum(), batch, allow_unused=True)
        if gradient is None:
            raise self.refusal(_NO_GRADIENT)
        direction = self.series(16, seed=3)
        slope = (gradient * direction).sum(dim=(1, 2))
        measured = _difference(self.model, batch.detach(), direction)
        floor = 1e-4 * (1 + outputs.detach().abs().max())  # rounding of the difference
        error = (slope - measured).abs() / (measured.abs() + floor)
        # The median: a row may lie at a switch, such as the choice of a period in TimesNet.
        if error.median() > _WORST_GRADIENT:
            raise self.refusal(
                f"its gradient with respect to the series is not that of its output (slopes of "
                f"{_shown(slope)} against measured {_shown(measured)}): part of the series passes "
                "through rounding, detach() or numpy, and guidance would not see it"
            )


def _difference(model: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> Tensor:
    """The slope of the summed outputs along `direction`, per row, by a central difference."""
    with torch.no_grad():
        up, down = model(x + _STEP * direction), model(x - _STEP * direction)
    return (up - down).sum(dim=1) / (2 * _STEP)


def _shown(values: Tensor) -> str:
    return ", ".join(f"{value:.3g}" for value in values[:3].tolist())


def _first_row(model: nn.Module, batch: Tensor, saved: Mapping[str, Tensor]) -> Tensor:
    # Same weights, buffers and random numbers every time: only the batch mates may differ.
    model.load_state_dict(saved)
    torch.default_generator.manual_seed(0)
    return model(batch)[0]


_LAZY = (
    "it makes layers at its first call, after the optimiser has taken its parameters; make all "
    "layers in __init__ (in_channels and length are given there)"
)
_NO_GRADIENT = (
    "no gradient reaches the series (detach(), numpy or no_grad() inside), so guidance by it would "
    "do nothing; keep the path from the series to the logits differentiable (a frozen encoder "
    "needs requires_grad_(False) on its weights, not no_grad())"
)
