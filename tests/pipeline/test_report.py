"""The report of three sets of different origin: whole, readable, discreet, offline."""

import ast
import csv
import html
import json
import pickle
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from configs import load_config
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.storage.dataset_files import save_dataset
from scripts import evaluate
from scripts.report import build
from scripts.results.answers import CANNOT_TELL, NO, NO_LEAK_FOUND
from scripts.results.verdicts import Verdict
from scripts.utility.downstream import Downstream
from tardiff.generation.artefacts import tuning_record
from tests.support.evaluated import arguments, as_synthetic

SETS = ("unguided", "export", "timegan")
VOID = {"meta", "img", "br", "hr", "link", "input"}
PHONE = 390  # CSS pixels
PAPER = 718  # A4 without its margins


def report_arguments(home):
    return arguments(
        home,
        "evaluation.protocols=[TSTR,TSRTR]",
        "evaluation.models=[gbdt]",
        "evaluation.seeds=[0,1]",
        f"synthetic=[{home}/timegan.npy,{home}/export.pkl]",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """runs/tiny/evaluation with a set of our own, a TimeGAN-like .npy pair and a pickle."""
    home = tmp_path_factory.mktemp("report")
    files = {name: home / name for name in ("timegan.npy", "timegan_labels.npy", "export.pkl")}
    config = load_config(report_arguments(home))
    ensure_built(config.data)
    splits = load_splits(config.data)
    made = [as_synthetic(splits.train, seed) for seed in range(3)]
    own = home / "runs/tiny"
    save_dataset(own / "synthetic/unguided.npz", made[0])
    np.save(files["timegan.npy"], made[1].values)
    np.save(files["timegan_labels.npy"], made[1].labels)
    files["export.pkl"].write_bytes(pickle.dumps((made[2].values, made[2].labels)))
    (own / "tuning").mkdir()
    known = SCALE | {"data_fingerprint": splits.fingerprint, "model": None}
    (own / "tuning/scale.json").write_text(json.dumps(known))
    evaluate.main(config)
    return own / "evaluation"


SCALE = {
    "selection": "val_select",
    "seeds": [0, 1],
    "points": [
        {
            "w": w,
            "cfg_scale": 1.0,
            "realised": [w, w],
            "auroc": 0.7 + w / 10,
            "auroc_sd": 0.01,
            "auprc": 0.3,
            "auprc_sd": 0.01,
        }
        for w in (0.0, 0.5)
    ],
    "chosen": {"w": 0.5, "cfg_scale": 1.0},
}


class Reader(HTMLParser):
    """Open tags, attributes and text of a page; notes tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.faults, self.tags, self.ids = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        if "id" in found:
            self.ids.append(found["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append((tag, self.getpos()))

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_loads_nothing(page):
    reader = Reader(page)
    assert not reader.faults and not reader.open
    assert len(set(reader.ids)) == len(reader.ids)
    loads = [
        value
        for _, attributes in reader.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action")
    ]
    assert loads and all(value.startswith(("data:image/png;base64,", "#")) for value in loads)
    targets = {value[1:] for value in loads if value.startswith("#")}
    assert targets <= set(reader.ids)
    assert not reader.of("script") and not reader.of("link")
    assert "@import" not in page and "url(" not in page
    (language,) = reader.of("html")
    assert language["lang"] == "en"
    assert any(a.get("name") == "viewport" for a in reader.of("meta"))


def test_every_figure_has_an_alternative_text_and_a_caption_with_numbers(page):
    pictures = Reader(page).of("img")
    assert len(pictures) >= 10
    wide = [picture for picture in pictures if picture["class"] == "wide"]
    least = [int(re.findall(r"\d+", picture["style"])[0]) for picture in wide]
    assert wide and all(w > 0.6 * int(p["width"]) for w, p in zip(least, wide, strict=True))
    assert all(len(picture["alt"]) > 20 for picture in pictures)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.S)
    assert len(captions) == len(pictures)
    assert all(re.search(r"\d", caption) for caption in captions)
    assert len(set(captions)) == len(captions)


def test_three_sets_of_any_origin_stand_side_by_side(folder, page):
    verdicts = json.loads((folder / "summary.json").read_text())["verdicts"]
    asked = {(v["name"], v["question"]) for v in verdicts}
    assert asked == {(n, q) for n in SETS for q in ("useful", "faithful", "private")}
    # Training series with noise give their patients away, whoever made the set.
    private = {v["name"]: v["outcome"] for v in verdicts if v["question"] == "private"}
    assert private == dict.fromkeys(SETS, "no")
    markdown = (folder / "report.md").read_text()
    rows = csv.DictReader((folder / "results.csv").read_text().splitlines())
    for name in SETS:
        assert f'<th scope="row">{name}</th>' in page
        assert f"**{name}, private? No.**" in markdown
    assert {r["generator"] for r in rows} == {"real", "simulator", *SETS}
    assert re.search(
        r"^Task: survived or died, from \d+ hours of \d channels, \d+ steps", markdown, re.M
    )
    titles = re.findall("^## (.*)$", markdown, re.M)  # records and settings are long: the last
    assert titles[:2] == ["Verdict", "What next"]
    places = [titles.index(title) for title in ("How to read this", "Data", "Provenance")]
    assert places == sorted(places)
    for text in ("The patients are simulated", "What next", "A leak: release nothing"):
        assert text in page and text in markdown


def test_results_are_written_before_the_first_figure(folder, monkeypatch):
    """A page that cannot be drawn loses no number, and no page of other numbers stands beside."""
    home, again = folder.parents[2], folder.parent / "again"
    again.mkdir()
    for name in ("report.html", "report.md", "guidance_change.csv"):
        (again / name).write_text("of the results before")

    def fails(results):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "build_page", fails)
    monkeypatch.setattr(Downstream, "fit", lambda *_, **__: pytest.fail("fitted again"))
    with pytest.raises(KeyboardInterrupt):
        evaluate.main(load_config([*report_arguments(home), "evaluation.dir=again"]))
    assert (again / "results.csv").read_text() == (folder / "results.csv").read_text()
    assert "verdicts" in json.loads((again / "summary.json").read_text())
    assert {path.name for path in again.iterdir()} == {"results.csv", "summary.json"}


def test_the_report_only_renders():
    """It imports no model, no config and no generator, and nothing that computes."""
    allowed = ("scripts.", "configs.runtime.", "matplotlib", "numpy", "pandas", "jinja2")
    for path in Path(build.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        modules |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        assert {m for m in modules if m.split(".")[0] not in sys.stdlib_module_names} <= {
            m for m in modules if m.startswith(allowed)
        }, path


def test_words_are_explained_and_thresholds_shown(page):
    text = html.unescape(re.sub(r"<pre.*?</pre>", "", page, flags=re.S))  # cards, settings
    assert "How to read this" in text
    assert all(f"{word}:" in text for word in ("seed", "val_select", "Holm", "quality flag"))
    assert "no generator (TRTR+):" in text and '<th scope="row">val_guide</th>' in page
    assert "calibration are about the class died." in text and "tested on set (TRTS):" in text
    assert all(
        f'<th scope="col">{name}</th>' in page for name in ("copy share", "worst s.d. ratio")
    )
    assert "mean over the classes" in build.scored_class(["a", "b", "c"])
    assert '<th scope="row"></th>' not in page
    assert '<th scope="col">quality flag (*) if</th>' in page and "> 2 x real and > 0.05" in text
    assert "-0.000" not in text and not re.search(r"\b(stays?|alarm|told from)\b", text)


def test_markdown_and_html_say_the_same(folder, page):
    markdown = (folder / "report.md").read_text()
    text = html.unescape(page)
    for verdict in json.loads((folder / "summary.json").read_text())["verdicts"]:
        assert verdict["reason"] in text and verdict["reason"] in markdown
        assert verdict["numbers"] in text and verdict["numbers"] in markdown
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", markdown)
    assert len(pictures) == page.count("<img ")
    assert all((folder / name).read_bytes()[:4] == b"\x89PNG" for name in pictures)
    headings = re.findall(r"^## (.*)$", markdown, re.M)
    for heading in headings:
        assert heading in text


def test_patients_are_not_shown_unless_asked_for(page):
    assert "No single real series is shown" in html.unescape(page)
    assert "do not pass this page on" not in page


def test_the_strength_curve_is_shown_where_it_was_made(folder, page):
    assert (folder / "scale.png").is_file()
    assert "Chosen: w = 0.5." in page and "without guidance 0.700" in page


def test_what_is_absent_is_said(page):
    """No classifier, diffusion model or cached gradient in this experiment."""
    text = html.unescape(page)
    assert "Not shown:" in text and "bash classifier/train.sh" in text
    assert "Without a card:" in text


def chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no chromium on the path: the page was not laid out in a real browser")
    return found


def laid_out(page, width, tmp_path):
    """In a real browser, at `width` pixels: the width of the page, its pictures, those that are
    broken, what it loaded, the boxes that are cut off or scroll, and the long texts that show."""
    program = chromium()
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id="f" style="width:{width}px;height:800px;border:0" '
        f'srcdoc="{html.escape(page)}"></iframe><p id="out"></p><script>f.onload = () => {{'
        "const d = f.contentDocument, w = f.contentWindow;"
        "const broken = [...d.images].filter(i => !i.naturalWidth).length;"
        "const asked = w.performance.getEntriesByType('resource').map(r => r.name)"
        ".filter(n => !n.startsWith('data:')).length;"
        "const cut = [...d.querySelectorAll('.scroll')].filter(b => b.scrollWidth > b.clientWidth);"
        "const shown = [...d.querySelectorAll('pre')].filter(p => p.checkVisibility());"
        "out.textContent = JSON.stringify([d.documentElement.scrollWidth, d.images.length,"
        "broken, asked, cut.length, shown.length]);}</script>",
        encoding="utf-8",
    )
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000"]
    done = subprocess.run([*command, frame.as_uri()], capture_output=True, text=True, timeout=120)
    found = re.search(r'<p id="out">(\[.*?\])</p>', done.stdout)
    assert found, done.stderr[-500:]
    return json.loads(found[1])


def test_a_phone_shows_it_without_sideways_scrolling(page, tmp_path):
    width, pictures, broken, asked, *_ = laid_out(page, PHONE, tmp_path)
    assert width <= PHONE
    assert pictures >= 10 and (broken, asked) == (0, 0)


def test_paper_shows_all_columns(page, tmp_path):
    """What scrolls on a screen is cut off in print, and nobody can unfold a card there."""
    printed = page.replace("@media print", "@media all")
    width, *_, cut, shown = laid_out(printed, PAPER, tmp_path)
    assert width <= PAPER and cut == 0 and shown == page.count("<pre") > 0


def test_a_curve_of_other_data_or_another_model_is_not_shown(tmp_path):
    path, record = tmp_path / "scale.json", SCALE | {"data_fingerprint": "mine", "model": "a"}
    path.write_text(json.dumps(record))
    assert tuning_record(path, "mine", "a") == record
    assert tuning_record(path, "other", "a") is tuning_record(path, "mine", "b") is None
    assert tuning_record(tmp_path / "absent.json", "mine", "a") is None


def test_a_set_that_leaks_is_not_handed_on():
    def steps(outcome):
        verdict = Verdict("guided", "private", outcome, "", "", "", "")
        return " ".join(build.next_steps([verdict], False))

    assert "release nothing" in steps(NO) and "To hand a set on" not in steps(NO)
    assert "To hand a set on" in steps(NO_LEAK_FOUND)
    assert "licence of the source data" in steps(NO_LEAK_FOUND)
    assert "hand no such set on" in steps(CANNOT_TELL)
    assert "To hand a set on" not in steps(CANNOT_TELL) + " ".join(build.next_steps([], False))


@pytest.mark.parametrize("question", ["useful", "faithful", "private"])
def test_what_to_do_about_a_doubt_is_a_sentence(question):
    verdict = Verdict("guided", question, CANNOT_TELL, "", "", "", "")
    step = build.next_steps([verdict], True)[0]
    assert step.startswith("For a set that is not") and question in step
    assert "do what its verdict asks for" in step


@pytest.mark.parametrize(
    ("length", "hours", "told"),
    [(24, 1.0, "24 hours"), (288, 5 / 60, "24 hours"), (256, 1 / 3600 / 256, "1 seconds")],
)
def test_the_task_is_told_in_hours_or_seconds(length, hours, told):
    task = f"Task: survived or died, from {told} of 2 channels, {length} steps (see Data below)."
    assert build.task(["survived", "died"], 2, length, hours) == task
    assert build.task(["0", "1"], 2, length, hours) == task.replace(
        "survived or died", "label 0 or 1"
    )
