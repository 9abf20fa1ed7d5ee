"""The variables of the PhysioNet/CinC Challenges of 2012 and 2019: units, ranges, our names.

Ranges are wide on purpose: they remove what no living patient has (a heart rate of 0, a pH of 735
that is no slip of the decimal point), not what is merely rare. What both Challenges measure has one
range. Lactate and magnesium carry other units on the page of 2019 than their values have; these are
the values' own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from configs.runtime.errors import ConfigError

Bounds = tuple[
    str, float | int, float | int
]  # unit, lowest and highest plausible value (inclusive)

PARAMETERS: dict[str, Bounds] = {
    "ALP": ("IU/L", 1, 5000),
    "ALT": ("IU/L", 1, 30000),
    "AST": ("IU/L", 1, 30000),
    "Albumin": ("g/dL", 0.5, 7),
    "BUN": ("mg/dL", 1, 300),
    "Bilirubin": ("mg/dL", 0.1, 80),
    "Cholesterol": ("mg/dL", 20, 1000),
    "Creatinine": ("mg/dL", 0.1, 40),
    "DiasABP": ("mmHg", 10, 200),
    "FiO2": ("fraction", 0.21, 1),
    "GCS": ("points", 3, 15),
    "Glucose": ("mg/dL", 5, 2000),
    "HCO3": ("mmol/L", 2, 60),
    "HCT": ("%", 5, 70),
    "HR": ("bpm", 10, 300),
    "K": ("mmol/L", 1, 12),
    "Lactate": ("mmol/L", 0.1, 35),
    "MAP": ("mmHg", 15, 250),
    "MechVent": ("0/1", 0, 1),
    "Mg": ("mmol/L", 0.2, 10),
    "NIDiasABP": ("mmHg", 10, 200),
    "NIMAP": ("mmHg", 15, 250),
    "NISysABP": ("mmHg", 20, 300),
    "Na": ("mmol/L", 90, 200),
    "PaCO2": ("mmHg", 5, 200),
    "PaO2": ("mmHg", 10, 700),
    "Platelets": ("10^9/L", 1, 3000),
    "RespRate": ("1/min", 2, 80),
    "SaO2": ("%", 40, 100),
    "SysABP": ("mmHg", 20, 300),
    "Temp": ("C", 25, 45),
    "TroponinI": ("ug/L", 0.01, 500),
    "TroponinT": ("ug/L", 0.01, 100),
    "Urine": ("mL", 0, 5000),
    "WBC": ("10^9/L", 0.1, 500),
    "Weight": ("kg", 20, 350),
    "pH": ("-", 6.5, 8),
}
DESCRIPTORS = ("RecordID", "Age", "Gender", "Height", "ICUType")

# Our name: the parameters that measure it, best first. A step takes the first that has a value.
CHANNELS = {
    "heart_rate": ("HR",),
    "systolic_pressure": ("SysABP", "NISysABP"),
    "diastolic_pressure": ("DiasABP", "NIDiasABP"),
    "mean_pressure": ("MAP", "NIMAP"),
    "temperature": ("Temp",),
    "gcs": ("GCS",),
    "urine": ("Urine",),
    "respiratory_rate": ("RespRate",),
    "spo2": ("SaO2",),
}
SUMMED = ("Urine",)  # amounts add up within a step, everything else is averaged


# The columns of 2019: our name, and its name in 2012
AS_IN_2012 = {
    "HR": ("heart_rate", "HR"),
    "O2Sat": ("spo2", "SaO2"),
    "Temp": ("temperature", "Temp"),
    "SBP": ("systolic_pressure", "SysABP"),
    "MAP": ("mean_pressure", "MAP"),
    "DBP": ("diastolic_pressure", "DiasABP"),
    "Resp": ("respiratory_rate", "RespRate"),
    "HCO3": ("bicarbonate", "HCO3"),
    "FiO2": ("fio2", "FiO2"),
    "pH": ("ph", "pH"),
    "PaCO2": ("paco2", "PaCO2"),
    "SaO2": ("arterial_saturation", "SaO2"),
    "AST": ("ast", "AST"),
    "BUN": ("bun", "BUN"),
    "Alkalinephos": ("alkaline_phosphatase", "ALP"),
    "Creatinine": ("creatinine", "Creatinine"),
    "Glucose": ("glucose", "Glucose"),
    "Lactate": ("lactate", "Lactate"),
    "Potassium": ("potassium", "K"),
    "Bilirubin_total": ("bilirubin", "Bilirubin"),
    "TroponinI": ("troponin_i", "TroponinI"),
    "Hct": ("haematocrit", "HCT"),
    "WBC": ("white_cells", "WBC"),
    "Platelets": ("platelets", "Platelets"),
}
# column: our name, bounds
ONLY_IN_2019: dict[str, tuple[str, Bounds]] = {
    "EtCO2": ("etco2", ("mmHg", 5, 150)),
    "BaseExcess": ("base_excess", ("mmol/L", -50, 50)),
    "Calcium": ("calcium", ("mg/dL", 4, 20)),  # ionised calcium in mmol/L stands here too: refused
    "Chloride": ("chloride", ("mmol/L", 60, 160)),
    "Bilirubin_direct": ("bilirubin_direct", ("mg/dL", 0.01, 60)),
    "Magnesium": ("magnesium", ("mg/dL", 0.3, 15)),
    "Phosphate": ("phosphate", ("mg/dL", 0.2, 20)),
    "Hgb": ("haemoglobin", ("g/dL", 2, 25)),
    "PTT": ("ptt", ("s", 10, 300)),
    "Fibrinogen": ("fibrinogen", ("mg/dL", 10, 2000)),
}


@dataclass(frozen=True)
class Channel:
    """One channel: its name with unit, and the parameters that measure it, best first."""

    name: str
    parameters: tuple[str, ...]


CHANNELS_2012 = {
    name: Channel(f"{name}[{PARAMETERS[measured_by[0]][0]}]", measured_by)
    for name, measured_by in (CHANNELS | {name: (name,) for name in PARAMETERS}).items()
}
_IN_2019 = {c: (name, PARAMETERS[there]) for c, (name, there) in AS_IN_2012.items()} | ONLY_IN_2019
PARAMETERS_2019 = {column: bounds for column, (_, bounds) in _IN_2019.items()}
CHANNELS_2019 = {
    name: Channel(f"{ours}[{bounds[0]}]", (column,))
    for column, (ours, bounds) in _IN_2019.items()
    for name in (ours, column)
}


def channels_named(
    names: Sequence[str], known: Mapping[str, Channel], source: str
) -> tuple[Channel, ...]:
    """The channels that the config lists, by our name or by the Challenge's.

    Raises:
        ConfigError: an unknown or repeated name, or none.
    """
    key = f"data.{source}.channels"
    for name in names:
        if name not in known:
            raise ConfigError(f"{key}: unknown channel {name!r}; known: {', '.join(known)}")
    chosen = tuple(known[name] for name in names)
    if not names or len({channel.parameters for channel in chosen}) != len(names):
        raise ConfigError(f"{key}={names}: expected one name or more, each variable once")
    return chosen


def is_plausible(
    values: Float[np.ndarray, " n"], parameter: str, bounds: Bounds
) -> tuple[Bool[np.ndarray, " n"], list[str]]:
    """True for the values within the bounds, and a note that counts the others; NaN is none."""
    unit, low, high = bounds
    plausible = (values >= low) & (values <= high)
    measured = int((~np.isnan(values)).sum())
    outside = measured - int(plausible.sum())
    note = f"{parameter}: outside {low:g}..{high:g} {unit}, set to missing: "
    return plausible, [f"{note}{outside:,} of {measured:,} values"] * (outside > 0)
