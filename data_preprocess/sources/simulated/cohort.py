"""simulate: the embedded cohort, a small physiological simulator of ICU stays.

A patient has a frailty, a stay has a phenotype (stable, septic, haemorrhagic, respiratory or
neurologic) and an intensity that ramps up at a random time and may recover. The activation drives
every channel through a table of gains (linear, and quadratic for decompensation), on top of a
personal baseline, a circadian rhythm and autoregressive noise. Sicker patients are measured more
often; artefacts look like values. The outcome is drawn from a risk that depends on the activation
at the end of the window, its trend, the frailty and the age - so two patients with the same last
heart rate can differ in risk, and each phenotype has its own signature that must be learnt.

Nothing here was fitted to patients: it is made to exercise the pipeline, not to stand for anyone.
"""

from typing import Any

import numpy as np
from scipy.signal import lfilter
from scipy.special import expit

from configs.runtime.errors import ConfigError
from data_preprocess.cohort import Cohort, FlowStep
from data_preprocess.sources.registry import Settings, SourceData, reader, require_window
from data_preprocess.sources.simulated.channels import channel_table, finish
from data_preprocess.sources.simulated.mortality import (
    PHENOTYPES,
    Stays,
    class_probabilities,
    lethality_of,
)

_SHARES = (0.48, 0.17, 0.11, 0.14, 0.10)
_SECOND_STAY = 0.15  # share of patients with a second stay
_STATIC_NAMES = ("age[years]", "sex[1=male]", "unit_type[code]")


@reader("simulated")
def read_simulated(section: Any, settings: Settings) -> SourceData:
    """The simulated pool; its test split is drawn from it.

    Args:
        section: arguments of `simulate` by name.

    Raises:
        ConfigError: a task other than mortality, the only outcome that is simulated; or as
            `require_window`.
    """
    if settings.task != "mortality":
        raise ConfigError(
            f"data.task={settings.task}: the simulated cohort has no length of stay, only mortality"
        )
    require_window(section.num_steps, settings, "data.simulated.num_steps")
    cohort, _ = simulate(**vars(section), seed=settings.seed, step_minutes=settings.step_minutes)
    return SourceData(cohort)


def simulate(
    *,
    num_subjects: int = 3000,
    prevalence: float = 0.09,
    num_channels: int = 7,
    num_steps: int = 24,
    unit_effect: float = 0.0,
    seed: int = 0,
    step_minutes: float = 60.0,
) -> tuple[Cohort, Stays]:
    """Simulated stays and their latent state, equal for equal arguments.

    Since the outcome is drawn from exactly `true_risk`, `roc_auc_score(labels, true_risk[:, 1])` is
    the AUROC of the Bayes classifier that sees the latent state: about 0.85, an upper bound (in
    expectation) for every classifier of the measured series. For comparison, gradient boosting on
    summary features of the series: 0.74 from 500 stays, 0.77 from 2,000, 0.80 from 20,000 (two
    seeds, 9,200 test stays; a logistic regression within 0.03 of it).

    Args:
        num_subjects: patients; about 15 % of them have a second stay.
        prevalence: expected share of stays that end in death.
        num_channels: the seven vital signs, then laboratory values; at most 16.
        num_steps: grid points per stay.
        unit_effect: how much it depends on the unit which phenotype is deadly: 0 (not at all) to 1.
        step_minutes: grid spacing; the physiology runs in hours whatever the grid.
    """
    rng = np.random.default_rng(seed)
    hours = np.arange(num_steps) * step_minutes / 60.0
    stays = _draw_stays(rng, num_subjects, hours)
    table = channel_table(num_channels)
    values = _signals(rng, stays, table, hours)
    values = np.where(_measured(rng, stays, table, values.shape), values, np.nan)
    uniform = rng.random(len(stays.subject))
    # It hints at the phenotype without giving it away.
    unit = np.where(rng.random(len(uniform)) < 0.6, stays.phenotype % 4, 0)
    unit = np.where(unit == 0, rng.integers(0, 4, len(unit)), unit)
    lethality = lethality_of(stays.phenotype, unit, unit_effect)
    probabilities = class_probabilities(stays, lethality, prevalence)
    labels = (uniform >= probabilities[:, 0]).astype(np.int64)
    cohort = Cohort(
        values=values[:, :num_channels].astype(np.float32),
        labels=labels,
        subject_ids=stays.subject,
        feature_names=tuple(table.name[:num_channels].tolist()),
        label_names=("survived", "died"),
        static=np.stack([np.round(stays.age), stays.male, unit + 1], axis=1).astype(np.float32),
        static_names=_STATIC_NAMES,
        flow=(FlowStep(f"stays of {num_subjects} simulated patients", 0, len(labels)),),
        notes=("simulated: no value stems from a patient",),
        true_risk=probabilities,
    )
    return cohort, stays


def _draw_stays(rng: np.random.Generator, num_subjects: int, hours: np.ndarray) -> Stays:
    num_stays = 1 + (rng.random(num_subjects) < _SECOND_STAY)
    subject = np.repeat(np.arange(num_subjects), num_stays)
    frailty = rng.normal(size=num_subjects)[subject]
    age = np.clip(rng.normal(63, 16, num_subjects), 18, 95)[subject]
    male = (rng.random(num_subjects) < 0.56).astype(np.float64)[subject]
    phenotype = rng.choice(len(PHENOTYPES), size=len(subject), p=_SHARES)
    intensity = rng.gamma(2.5, 0.22, len(subject)) * np.exp(0.25 * frailty)
    activation = intensity[:, None] * _course(rng, len(subject), hours)
    activation[phenotype == 0] *= 0.15
    return Stays(subject, frailty, age, male, phenotype, np.minimum(activation, 1.8))


def _course(rng: np.random.Generator, n: int, hours: np.ndarray) -> np.ndarray:
    """Time course in [0, 1] per stay: a ramp at a random onset, recovery in some."""
    span = hours[-1] + (hours[1] - hours[0])
    onset = rng.uniform(-0.3, 0.9, n) * span
    pace = rng.uniform(0.04, 0.2, n) * span
    rise = expit((hours - onset[:, None]) / pace[:, None])
    recovers = rng.random(n) < 0.45
    turn = onset + rng.uniform(0.2, 0.6, n) * span
    fall = 1 - expit((hours - turn[:, None]) / (1.5 * pace[:, None]))
    return np.where(recovers[:, None], rise * fall, rise)


def _signals(
    rng: np.random.Generator, stays: Stays, table: np.recarray, hours: np.ndarray
) -> np.ndarray:
    """Complete, noisy channel values, (n, channel, time), in clinical units."""
    n, num_channels, num_steps = len(stays.subject), len(table), len(hours)
    level = stays.activation[:, None]
    linear, quadratic = (
        np.insert(gains, 0, 0, axis=1)[:, stays.phenotype].T[..., None]  # stable: no response
        for gains in (table.linear, table.quadratic)
    )
    person = _personal(rng, stays, table)
    phase = rng.uniform(0, 24, (n, 1, 1))  # hour of admission
    circadian = table.circadian[:, None] * np.cos(2 * np.pi * (hours + phase - 16) / 24)
    rng.uniform(size=(n, num_channels, 1))  # not used: what a seed gives stays as it was
    noise = _autoregressive(rng, (n, num_channels, num_steps), hours)
    state = table.baseline[:, None] + person + linear * level + quadratic * level**2
    values = state + circadian + table.noise[:, None] * noise
    # Short plausible-looking errors: a probe that slipped, a line that was flushed.
    slipped = rng.random(values.shape) < 0.004
    values = np.where(slipped, values + table.artefact[:, None], values)
    return finish(table, np.clip(values, table.low[:, None], table.high[:, None]))


def _personal(rng: np.random.Generator, stays: Stays, table: np.recarray) -> np.ndarray:
    """Offset of a patient's own baseline, which age and frailty shift."""
    patients = stays.subject[-1] + 1
    offset = table.spread * rng.normal(size=(patients, len(table)))
    ageing = table.per_decade * ((stays.age - 63) / 10)[:, None]
    frailty = table.per_frailty * stays.frailty[:, None]
    return (offset[stays.subject] + ageing + frailty)[..., None]


def _autoregressive(
    rng: np.random.Generator, shape: tuple[int, int, int], hours: np.ndarray
) -> np.ndarray:
    """Stationary AR(1) noise of unit variance with a correlation time of 3 h, plus white noise."""
    keep = np.exp(-(hours[1] - hours[0]) / 3.0)
    drive = rng.normal(size=shape) * np.sqrt(1 - keep**2)
    drive[..., 0] = rng.normal(size=shape[:2])
    slow = np.asarray(lfilter([1.0], [1.0, -keep], drive, axis=-1))
    return 0.8 * slow + 0.6 * rng.normal(size=shape)


def _measured(
    rng: np.random.Generator, stays: Stays, table: np.recarray, shape: tuple[int, ...]
) -> np.ndarray:
    """True where a value was charted: in rounds, and more often the sicker the patient."""
    n, num_channels, num_steps = shape
    attention = 1.6 * (stays.activation - 0.3) + 0.3 * rng.normal(size=(n, 1))
    chance = expit(table.charting[:, None] + attention[:, None])
    groups = rng.random((n, table.group.max() + 1, num_steps))  # pressures are read together
    return groups[:, table.group] < chance
