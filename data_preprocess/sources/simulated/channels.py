"""The channels of the simulated cohort as one table: baselines, gains, noise, charting habits.

Blood pressure is simulated as pulse pressure and mean pressure and turned into systolic,
diastolic and mean at the end, so the three always agree as they do in an artery.
"""

import numpy as np

from configs.runtime.errors import ConfigError

# Columns: name[unit], baseline, spread between patients, change per decade of age and per sd of
# frailty, circadian amplitude, noise (sd, within a stay); linear and then quadratic response to
# the activation of the septic, haemorrhagic, respiratory and neurologic phenotype; log-odds of
# being charted in a step, group charted together, size of an artefact, lowest and highest value,
# decimals charted.
# Until `finish`, the systolic row holds pulse pressure and the diastolic row nothing.
_TABLE = """
heart_rate[bpm]             82    11  -1.5     4     3   5.0    22    30    12   -16     6     4     2    -2   2.2     0    45    25   220     0
systolic_pressure[mmHg]     48     8   4.0    -3     1   5.0     6    -8     0    14    -8   -10     2     8   1.8     1   -30     8   140     0
diastolic_pressure[mmHg]     0     0     0     0     0     0     0     0     0     0     0     0     0     0   1.8     1     0     0     0     0
mean_pressure[mmHg]         83     9   0.5    -4     3   5.0    -6     2     3     8   -10   -16    -2     6   1.8     1    35    25   170     0
temperature[C]            36.9   0.3 -0.05  -0.1  0.25   0.2   1.3  -0.4   0.3   0.5  -0.3  -0.3     0   0.2  -0.9     2  -2.5    30    42     1
respiratory_rate[1/min]     17   2.5   0.3   1.3   0.7   2.2     6     4     9    -4     1     2     3     1   2.0     0    12     4    55     0
spo2[%]                   97.0   1.0  -0.2  -0.7     0   0.9  -0.8  -0.3  -3.0  -0.3  -0.6  -0.3  -3.0  -0.5   2.0     0   -18    55   100     0
gcs[points]               14.5   0.5  -0.1  -0.4     0   0.6    -1  -0.5    -1    -4    -1    -1    -1    -3  -0.2     3     0     3    15     0
urine[mL]                   85    20  -3.0   -12     5    30   -30   -35    -5    20   -10   -10     0    10   1.0     4     0     0   800     0
lactate[mmol/L]            1.4   0.4     0   0.2     0   0.3   1.6   1.8   0.6   0.3   0.8   1.5   0.4   0.1  -2.2     5     0   0.3    25     1
creatinine[mg/dL]          1.0   0.3  0.08   0.2     0   0.1   0.6   0.3   0.1     0   0.3   0.2     0     0  -2.4     6     0   0.2    15     1
haemoglobin[g/dL]         11.5   1.4  -0.2  -0.6     0   0.4  -0.3  -2.0     0     0     0  -1.2     0     0  -2.2     6     0     4    19     1
white_cells[10^9/L]        9.5   2.5     0   0.5     0   0.8     5   1.5     2     1     1   0.5     0     0  -2.4     6     0   0.1    80     1
ph[-]                     7.40  0.03     0 -0.01     0  0.02  -.05  -.06  -.07   .02  -.04  -.06  -.06     0  -1.8     5     0   6.7   7.8     2
paco2[mmHg]                 40     4   0.3     1     0   3.0    -4    -3     9    -4     0     0     7     3  -1.8     5     0    12   120     0
glucose[mg/dL]             135    25   2.0     6     6    16    22    15     5    18     0     5     0     5  -0.8     7     0    20   700     0
"""  # noqa: E501 - a table reads better than it wraps
_PULSE, _DIASTOLIC, _MEAN, _NUM_VITALS = 1, 2, 3, 7
_COLUMNS = np.dtype(
    [
        ("name", "U40"),
        *((c, float) for c in "baseline spread per_decade per_frailty circadian noise".split()),
        *((c, float, 4) for c in ("linear", "quadratic")),
        ("charting", float),
        ("group", int),
        *((c, float) for c in ("artefact", "low", "high")),
        ("decimals", int),
    ]
)


def channel_table(num_channels: int) -> np.recarray:
    """The vital signs (always all seven), then laboratory values, as many as asked.

    Raises:
        ConfigError: more channels than there are.
    """
    lines = _TABLE.strip().splitlines()
    if num_channels > len(lines):
        raise ConfigError(f"num_channels={num_channels}: expected at most {len(lines)}")
    return np.loadtxt(lines[: max(num_channels, _NUM_VITALS)], dtype=_COLUMNS).view(np.recarray)


def finish(table: np.recarray, values: np.ndarray) -> np.ndarray:
    """Pulse and mean pressure turned into the three pressures, all to charted precision."""
    finished = values.copy()
    mean = values[:, _MEAN]
    pulse = np.minimum(values[:, _PULSE], 1.5 * mean)  # keeps the diastolic above zero
    finished[:, _PULSE] = mean + 2 * pulse / 3
    finished[:, _DIASTOLIC] = mean - pulse / 3
    for index, decimals in enumerate(table.decimals):
        finished[:, index] = np.round(finished[:, index], decimals)
    return finished
