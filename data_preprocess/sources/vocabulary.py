"""What public sources measure: our names, units, plausible ranges, and the sources' own names.

Ranges are wide on purpose: they remove what no living patient has (a heart rate of 0, a pH of 735
that is no slip of the decimal point), not what is merely rare. The units are those that the values
have: the pages of the Challenges give others of magnesium (2012, 2019) and of lactate (2019).
"""

from typing import NamedTuple


class Quantity(NamedTuple):
    """One variable in one unit; a name is empty where nobody uses it.

    Attributes:
        name: ours, without the unit.
        low, high: lowest and highest plausible value (inclusive).
        in_2012, in_2019: its name in the PhysioNet/CinC Challenges; in_yaib: in YAIB and ricu.
    """

    name: str
    unit: str
    low: float
    high: float
    in_2012: str
    in_2019: str
    in_yaib: str


QUANTITIES = (
    Quantity("heart_rate", "bpm", 10, 300, "HR", "HR", "hr"),
    Quantity("spo2", "%", 40, 100, "", "O2Sat", "o2sat"),
    Quantity("temperature", "C", 25, 45, "Temp", "Temp", "temp"),
    Quantity("systolic_pressure", "mmHg", 20, 300, "SysABP", "SBP", "sbp"),
    Quantity("mean_pressure", "mmHg", 15, 250, "MAP", "MAP", "map"),
    Quantity("diastolic_pressure", "mmHg", 10, 200, "DiasABP", "DBP", "dbp"),
    Quantity("respiratory_rate", "1/min", 2, 80, "RespRate", "Resp", "resp"),
    Quantity("etco2", "mmHg", 5, 150, "", "EtCO2", ""),
    Quantity("gcs", "points", 3, 15, "GCS", "", ""),
    Quantity("urine", "mL", 0, 5000, "Urine", "", "urine"),
    Quantity("albumin", "g/dL", 0.5, 7, "Albumin", "", "alb"),
    Quantity("alkaline_phosphatase", "IU/L", 1, 5000, "ALP", "Alkalinephos", "alp"),
    Quantity("alt", "IU/L", 1, 30000, "ALT", "", "alt"),
    Quantity("arterial_saturation", "%", 40, 100, "SaO2", "SaO2", ""),
    Quantity("ast", "IU/L", 1, 30000, "AST", "AST", "ast"),
    Quantity("base_excess", "mmol/L", -50, 50, "", "BaseExcess", "be"),
    Quantity("bicarbonate", "mmol/L", 2, 60, "HCO3", "HCO3", "bicar"),
    Quantity("bilirubin", "mg/dL", 0.1, 80, "Bilirubin", "Bilirubin_total", "bili"),
    Quantity("bilirubin_direct", "mg/dL", 0.01, 60, "", "Bilirubin_direct", "bili_dir"),
    Quantity("bun", "mg/dL", 1, 300, "BUN", "BUN", "bun"),
    # In 2019 ionised calcium in mmol/L stands here too: the range refuses it.
    Quantity("calcium", "mg/dL", 4, 20, "", "Calcium", "ca"),
    Quantity("chloride", "mmol/L", 60, 160, "", "Chloride", "cl"),
    Quantity("creatinine", "mg/dL", 0.1, 40, "Creatinine", "Creatinine", "crea"),
    Quantity("fibrinogen", "mg/dL", 10, 2000, "", "Fibrinogen", "fgn"),
    Quantity("fio2", "fraction", 0.21, 1, "FiO2", "FiO2", ""),
    Quantity("glucose", "mg/dL", 5, 2000, "Glucose", "Glucose", "glu"),
    Quantity("haematocrit", "%", 5, 70, "HCT", "Hct", ""),
    Quantity("haemoglobin", "g/dL", 2, 25, "", "Hgb", "hgb"),
    Quantity("lactate", "mmol/L", 0.1, 35, "Lactate", "Lactate", "lact"),
    Quantity("magnesium", "mg/dL", 0.3, 15, "Mg", "Magnesium", "mg"),
    Quantity("paco2", "mmHg", 5, 200, "PaCO2", "PaCO2", "pco2"),
    Quantity("pao2", "mmHg", 10, 700, "PaO2", "", "po2"),
    Quantity("ph", "-", 6.5, 8, "pH", "pH", "ph"),
    Quantity("phosphate", "mg/dL", 0.2, 20, "", "Phosphate", "phos"),
    Quantity("platelets", "10^9/L", 1, 3000, "Platelets", "Platelets", "plt"),
    Quantity("potassium", "mmol/L", 1, 12, "K", "Potassium", "k"),
    Quantity("ptt", "s", 10, 300, "", "PTT", "ptt"),
    Quantity("sodium", "mmol/L", 90, 200, "Na", "", "na"),
    Quantity("troponin_i", "ug/L", 0.01, 500, "TroponinI", "TroponinI", ""),
    Quantity("white_cells", "10^9/L", 0.1, 500, "WBC", "WBC", "wbc"),
    # Under the source's own name only.
    Quantity("", "mg/dL", 20, 1000, "Cholesterol", "", ""),
    Quantity("", "0/1", 0, 1, "MechVent", "", ""),
    Quantity("", "mmHg", 10, 200, "NIDiasABP", "", ""),
    Quantity("", "mmHg", 15, 250, "NIMAP", "", ""),
    Quantity("", "mmHg", 20, 300, "NISysABP", "", ""),
    Quantity("", "ug/L", 0.01, 100, "TroponinT", "", ""),
    Quantity("", "kg", 20, 350, "Weight", "", ""),
)
