"""The variables of PhysioNet/CinC Challenge 2012: units, plausible ranges, and our channel names.

Ranges are wide on purpose: they remove what no living patient has (a heart rate of 0, a pH of 735
that is no slip of the decimal point), not what is merely rare.
"""

from dataclasses import dataclass

from configs.runtime.errors import ConfigError

# name: unit, lowest and highest plausible value (inclusive)
PARAMETERS = {
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


@dataclass(frozen=True)
class Rescale:
    """A slip of unit: values of `parameter` within [low, high] become scale * value + offset."""

    parameter: str
    low: float
    high: float
    scale: float
    offset: float
    what: str


RESCALES = (
    Rescale("Temp", 70.0, 120.0, 5 / 9, -160 / 9, "Fahrenheit turned into Celsius"),
    Rescale("pH", 65.0, 80.0, 0.1, 0.0, "decimal point restored (73.5 -> 7.35)"),
    Rescale("pH", 650.0, 800.0, 0.01, 0.0, "decimal point restored (735 -> 7.35)"),
    Rescale("SaO2", 0.4, 1.0, 100.0, 0.0, "fraction turned into per cent"),
)


@dataclass(frozen=True)
class Channel:
    """One channel: its name with unit, and the parameters that measure it, best first."""

    name: str
    parameters: tuple[str, ...]

    @property
    def summed(self) -> bool:
        """True if values within a step add up."""
        return self.parameters[0] in SUMMED


def channels_named(names: list[str]) -> tuple[Channel, ...]:
    """The channels that the config lists, by our name or by PhysioNet's.

    Raises:
        ConfigError: an unknown or repeated name, or none.
    """
    known = CHANNELS | {name: (name,) for name in PARAMETERS}
    for name in names:
        if name not in known:
            raise ConfigError(
                f"data.physionet2012.channels: unknown channel {name!r}; known: {', '.join(known)}"
            )
    measured_by = {known[name] for name in names}
    if not names or len(measured_by) != len(names):
        raise ConfigError(
            f"data.physionet2012.channels={names}: expected one name or more, each variable once"
        )
    return tuple(Channel(f"{n}[{PARAMETERS[known[n][0]][0]}]", known[n]) for n in names)
