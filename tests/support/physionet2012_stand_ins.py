"""Five hand-made PhysioNet 2012 records, and how the tests read them."""

import io
import tarfile

from data_preprocess.sources.physionet.challenge2012 import read_physionet2012
from tests.support import sections

NAMES = ["heart_rate", "systolic_pressure", "diastolic_pressure", "mean_pressure", "temperature"]
NAMES += ["gcs", "urine", "respiratory_rate", "SaO2", "pH", "Weight"]


def read(folder, **changes):
    usual = {"folder": str(folder), "test_set": None, "channels": NAMES}
    return sections.read(read_physionet2012, "physionet2012", **(usual | changes))[:2]


HEAD = "Time,Parameter,Value\n00:00,RecordID,{0}\n00:00,Age,70\n00:00,Gender,-1\n00:00,Height,-1\n"
HEAD += "00:00,ICUType,3\n00:00,Weight,-1\n"
RECORDS = {
    1: "00:10,HR,80\n00:50,HR,90\n01:00,HR,100\n00:10,Temp,98.6\n23:59,HR,70\n24:00,HR,10\n",
    2: "00:10,NISysABP,100\n00:20,SysABP,120\n01:10,NISysABP,90\n02:00,SysABP,0\n"
    "02:05,NISysABP,99\n",
    3: "",
    4: "30:00,HR,77\n",
    5: "00:00,Urine,100\n00:59,Urine,50\n01:00,HR,400\n01:00,HR,60\n",
}
OUTCOMES = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"
OUTCOMES += "1,6,1,5,-1,0\n2,6,1,2,-1,1\n3,6,1,5,-1,0\n4,6,1,5,-1,0\n5,6,1,-1,-1,1\n"


def member(name, text, **changes):
    info = tarfile.TarInfo(name)
    raw = text if isinstance(text, bytes) else text.encode()
    info.size = len(raw)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, raw


def write_tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for info, raw in members:
            archive.addfile(info, io.BytesIO(raw) if info.isreg() else None)


def plain_members(records=RECORDS):
    return [member(f"set-a/{key}.txt", HEAD.format(key) + body) for key, body in records.items()]


def write_set_a(folder):
    write_tar(folder / "set-a.tar.gz", plain_members())
    (folder / "Outcomes-a.txt").write_text(OUTCOMES)
