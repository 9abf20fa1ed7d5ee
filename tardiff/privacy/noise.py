"""Noise that makes a sum private: how much, and from a generator that nobody can find again.

The relation between noise and (epsilon, delta) is the exact one of Balle & Wang 2018, taken from
the dp-accounting library. Whoever knew the noise could take it away: a seed of torch's CPU
generator has 32 bits that count, few enough to try them all against a file that was published.
"""

import secrets

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from configs.runtime.errors import DataError, optional

# torch's CPU generator: 24 bytes, then the words of its Mersenne Twister, 8 bytes each.
_TWISTER, _FIRST_WORD = 624, 24


def secret_generator(device: torch.device) -> torch.Generator:
    """A generator whose state comes from the operating system and is not kept.

    On the CPU the whole state of the Mersenne Twister is drawn; elsewhere a seed has 64 bits.
    """
    generator = torch.Generator(device).manual_seed(secrets.randbits(63))
    if device.type == "cpu":
        state = generator.get_state()
        words = np.frombuffer(secrets.token_bytes(4 * _TWISTER), np.uint32).astype(np.uint64)
        state[_FIRST_WORD : _FIRST_WORD + 8 * _TWISTER] = torch.from_numpy(words.view(np.uint8))
        generator.set_state(state)
    return generator


def require_patients(subject_ids: Int[np.ndarray, " n"], key: str) -> None:
    """Raises DataError, which names `key`, if a row does not say which patient it is of."""
    if (subject_ids < 0).any():
        raise DataError(
            f"{key}: the rows do not say which patient they are of (subject_ids of -1), so no "
            "patient can be promised anything"
        )


def noise_multiplier(epsilon: float, delta: float) -> float:
    """Standard deviation of the noise per unit of sensitivity, for one release.

    Raises:
        UserError: dp-accounting is not installed.
    """
    accounting = optional("dp_accounting", extra="dp", needed_by="export.epsilon")
    return float(accounting.get_sigma_gaussian(epsilon, delta))


def add_noise(gradient: Tensor, sd: float) -> Tensor:
    """`gradient` plus independent N(0, sd^2) noise in every entry.

    See `secret_generator` for where it comes from.
    """
    generator = secret_generator(torch.device("cpu"))
    return gradient + sd * torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype)
