"""The variables of PhysioNet/CinC Challenge 2019: columns, our names, units, plausible ranges.

What the Challenge of 2012 measures too has its range, so that the two sources clean alike. Lactate
and magnesium carry other units on the Challenge's page than their values have; these are the
values' own.
"""

from dataclasses import dataclass

from configs.runtime.errors import ConfigError
from data_preprocess.sources.physionet2012.variables import PARAMETERS

# column: our name, and its name in 2012
_AS_IN_2012 = {
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
# column: our name, unit, lowest and highest plausible value (inclusive)
_OWN = {
    "EtCO2": ("etco2", "mmHg", 5, 150),
    "BaseExcess": ("base_excess", "mmol/L", -50, 50),
    "Calcium": ("calcium", "mg/dL", 4, 20),  # ionised calcium in mmol/L stands here too: refused
    "Chloride": ("chloride", "mmol/L", 60, 160),
    "Bilirubin_direct": ("bilirubin_direct", "mg/dL", 0.01, 60),
    "Magnesium": ("magnesium", "mg/dL", 0.3, 15),
    "Phosphate": ("phosphate", "mg/dL", 0.2, 20),
    "Hgb": ("haemoglobin", "g/dL", 2, 25),
    "PTT": ("ptt", "s", 10, 300),
    "Fibrinogen": ("fibrinogen", "mg/dL", 10, 2000),
}


@dataclass(frozen=True)
class Variable:
    """A column of the records: our name, unit, lowest and highest plausible value (inclusive)."""

    column: str
    name: str
    unit: str
    low: float
    high: float

    @property
    def feature_name(self) -> str:
        """Name with unit, as data sets carry it: "heart_rate[bpm]"."""
        return f"{self.name}[{self.unit}]"


_KNOWN = {c: (name, *PARAMETERS[there]) for c, (name, there) in _AS_IN_2012.items()} | _OWN
VARIABLES = tuple(
    Variable(column, name, unit, float(low), float(high))
    for column, (name, unit, low, high) in _KNOWN.items()
)


def variables_named(names: list[str]) -> tuple[Variable, ...]:
    """The variables that the config lists, by our name or by the Challenge's column.

    Raises:
        ConfigError: an unknown or repeated name, or none.
    """
    known = {v.column: v for v in VARIABLES} | {v.name: v for v in VARIABLES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"data.physionet2019.channels: unknown channel {unknown[0]!r}; known: "
            f"{', '.join(v.name for v in VARIABLES)}"
        )
    chosen = tuple(known[name] for name in names)
    if not names or len(set(chosen)) != len(names):
        raise ConfigError(
            f"data.physionet2019.channels={names}: expected one name or more, each variable once"
        )
    return chosen
