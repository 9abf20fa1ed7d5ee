"""Privacy accounting of training: epsilon and delta, and the lines of the data card."""

import warnings
from dataclasses import dataclass, fields, replace
from typing import Any

from configs.runtime.errors import DataError, UserError, optional

ALWAYS_OUTSIDE = (
    "the range and scale of every channel (normaliser), the number of stays per class and of "
    "patients, and the training column below: all are read from train as it is; the stays of "
    "val_select choose the training step and are promised nothing"
)
COPIES = (
    "the search for copies of training stays, which reads them (generation.allow_copies=true "
    "leaves it out)"
)
GUIDED = (
    "**this set is guided, so the promise does not hold for it**: what guides it comes "
    "from train, val_guide and val_select, without noise but for a G exported with export.epsilon"
)


def privacy_lines(facts: dict[str, Any]) -> list[str]:
    """Markdown list items for the set with these facts (tardiff/generation/data_card.py)."""
    plain = facts["diffusion"].get("privacy")
    if plain is None:
        return ["- differential privacy: none (diffusion.private.epsilon)"]
    outside = [ALWAYS_OUTSIDE]
    if facts["copies"] is not None:
        outside.append(COPIES)
    if facts["guidance"] is not None:
        outside.append(GUIDED)
    return [
        f"- {promise_line(Privacy.from_plain(plain))}",
        f"- not covered by it: {'; '.join(outside)}",
    ]


# Renyi orders; broken ones are slow, and only a large epsilon has its best order among them.
ORDERS = (1.25, 1.5, 1.75, 2.5, 3.5, 4.5, *range(2, 65), 80, 96, 128, 192, 256, 512)
TOLERANCE = 1e-3  # of the noise that is found, in units of epsilon
UNIT = "one patient of the training rows, with all of their stays, added or removed"


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """The promise of a training and what it rests on.

    Attributes:
        epsilon, delta: what `steps` steps cost.
        noise_multiplier: standard deviation of the noise over `max_grad_norm`.
        max_grad_norm: bound of one patient's gradient (Euclidean norm).
        sample_rate: probability that a patient takes part in a step.
        steps: noised steps.
        patients: in the training rows; taken as public.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    max_grad_norm: float
    sample_rate: float
    steps: int
    patients: int

    @classmethod
    def from_plain(cls, plain: Any) -> "Privacy":
        """From its fields by name.

        Raises:
            DataError: other keys, or values that are no numbers in their range.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(plain, dict) or set(plain) != names:
            raise DataError(f"the privacy of a model must hold {sorted(names)}")
        whole = ("steps", "patients")
        kinds = {name: int if name in whole else float for name in names}
        right = all(type(plain[name]) is kind for name, kind in kinds.items())
        if not right or not all(0 <= plain[name] < float("inf") for name in names):
            raise DataError(f"the privacy of a model must hold numbers, found {plain}")
        return cls(**plain)


def planned(
    *,
    epsilon: float,
    delta: float | None,
    max_grad_norm: float,
    batch_size: int,
    steps: int,
    patients: int,
) -> Privacy:
    """The noise with which `steps` steps cost at most `epsilon`.

    Args:
        delta: None: 1 / patients^1.1, well below the chance of 1 / patients to name one outright.
        batch_size: patients per step in expectation.

    Raises:
        UserError: opacus is not installed, fewer patients than a batch, or no noise is enough.
    """
    if batch_size > patients:
        raise UserError(
            f"diffusion.private: batches of {batch_size} patients in expectation, but there are "
            f"{patients}; lower diffusion.batch_size"
        )
    delta = float(patients**-1.1) if delta is None else delta
    rate = batch_size / patients
    multiplier = _noise_multiplier(epsilon, delta, rate, steps)
    promise = Privacy(
        epsilon=epsilon,
        delta=delta,
        noise_multiplier=multiplier,
        max_grad_norm=max_grad_norm,
        sample_rate=rate,
        steps=steps,
        patients=patients,
    )
    return after(promise, steps)


def after(promise: Privacy, steps: int) -> Privacy:
    """The promise after `steps` steps of the same noise."""
    spent = 0.0
    if steps:
        spent = _epsilon(promise.noise_multiplier, promise.sample_rate, steps, promise.delta)
    return replace(promise, epsilon=spent, steps=steps)


def promise_line(promise: Privacy) -> str:
    """The promise in one line, for the terminal and the data card."""
    return (
        f"({promise.epsilon:.3g}, {promise.delta:.3g})-differential privacy of the denoiser's "
        f"weights for {UNIT}: noise {promise.noise_multiplier:.3g} x the gradient bound "
        f"{promise.max_grad_norm:g}, {promise.steps} steps, each with every one of "
        f"{promise.patients} patients with probability {promise.sample_rate:.3g} (opacus, Renyi "
        "accountant)"
    )


def opacus_part(name: str) -> Any:
    """A module of opacus.

    Raises:
        UserError: it is not installed.
    """
    return optional(f"opacus.{name}", extra="dp", needed_by="diffusion.private.epsilon")


def _noise_multiplier(epsilon: float, delta: float, rate: float, steps: int) -> float:
    find = opacus_part("accountants.utils").get_noise_multiplier
    budget = {"target_epsilon": epsilon, "target_delta": delta, "sample_rate": rate}
    options = {"accountant": "rdp", "epsilon_tolerance": TOLERANCE * epsilon, "alphas": ORDERS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the best order is the first or the last
        try:
            return float(find(**budget, steps=steps, **options))
        except ValueError as error:
            raise UserError(
                f"diffusion.private: no noise gives epsilon={epsilon:g} at delta={delta:g} in "
                f"{steps} steps ({error}); raise epsilon or lower diffusion.max_steps"
            ) from error


def _epsilon(multiplier: float, rate: float, steps: int, delta: float) -> float:
    accountant = opacus_part("accountants").RDPAccountant()
    accountant.history = [(multiplier, rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta, alphas=ORDERS))
