"""The pages: everything is there, nothing is fetched, and what is missing or damaged is said while the rest is shown."""

import json
import random
import re
import shutil
from importlib.resources import files

import numpy as np
import pytest
import yaml
from PIL import Image

from qprune_cli.report.crops import examples
from qprune_cli.report.facts import facts
from qprune_cli.report.parts import NEEDED, read_parts
from qprune_cli.report.run_page import run_page
from qprune_cli.report.write import report
from tests.report.folders import write_whole

LARGEST = 3 * 2**20
SECTIONS = ("stages", "cost", "images", "layers", "refitted", "transferred", "found", "trust", "tuned", "asked", "repeat", "methods")
SHOWN = {"manifest.json": "not finished", **dict.fromkeys(NEEDED, "missing or damaged"), "crops": "missing or damaged"}


def page(folder):
    return run_page(read_parts(folder))


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def test_a_whole_run_has_every_section_and_nothing_is_missing(whole):
    html = page(whole)
    assert re.findall(r'<section id="(\w+)"', html) == list(SECTIONS)
    assert "missing or damaged" not in html and "not finished" not in html
    for said in ("random mask, pruned", "leave-one-out", "dense, trained on", "fine-tuned", "filters with equal scores", "encoder.0.conv"):
        assert said in html
    assert "Orabi et al." in html and "qprune run --from" in html and html.count("<img") == 15 + 3


def test_a_page_needs_nothing_else(whole):
    html = page(whole)
    assert len(html) < LARGEST and "<script" not in html and "@import" not in html
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', html) and not re.findall(r"url\((?!#)", html)


def test_every_picture_has_words(whole):
    html = page(whole)
    assert all(re.search(r'alt="[^"]{10,}"', one) for one in re.findall(r"<img[^>]*>", html))
    for drawing in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        assert 'aria-hidden="true"' in drawing or (
            re.search(r"<title[^>]*>.+?</title><desc[^>]*>.{20,}</desc>", drawing) and 'role="img"' in drawing
        )
    names = re.findall(r'id="([^"]+)"', html)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_a_missing_part_is_said_and_the_rest_is_shown(copy, name):
    place = copy / name
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    html = page(copy)
    assert SHOWN[name] in html and (name in html or name == "manifest.json") and "Asked and obtained" in html


DAMAGES = [b"", b"\x00\xff\x00", b"a,b\n1\n", b'{"stages": 3, "files": 4, "seconds": [], "fidelity": 7, "components": 1}']
FILES = {*NEEDED, "manifest.json", "trace.csv", "epochs.csv", "refinement.json", "transfer.json"}
FILES = (FILES | {"compensation.csv", "crops/worst.png"}) - {"run.log"}


@pytest.mark.parametrize("content", DAMAGES)
@pytest.mark.parametrize("name", sorted(FILES))
def test_a_damaged_part_is_said_and_the_rest_is_shown(copy, name, content):
    (copy / name).write_bytes(content)
    html = page(copy)
    assert ("missing or damaged" in html or "not finished" in html) and "Asked and obtained" in html


def replaced(told, rng):
    """A value somewhere in a JSON file becomes another kind of thing."""
    place = told
    while True:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.3:
            place[key] = rng.choice([None, "x", [], {}, [{}], -1, 1e400, {"mean": "x"}])
            return told
        place = place[key]


@pytest.mark.parametrize("seed", range(30))
def test_whatever_stands_in_a_file_there_is_a_page(copy, seed):
    rng = random.Random(seed)
    for name in ("metrics.json", "solution.json", "manifest.json", "refinement.json", "transfer.json"):
        (copy / name).write_text(json.dumps(replaced(json.loads((copy / name).read_text()), rng)))
    (copy / "config.yaml").write_text(json.dumps(replaced(yaml.safe_load((copy / "config.yaml").read_text()), rng)))
    assert "</html>" in page(copy)


def test_a_run_that_has_lost_its_settings_has_a_page(copy):
    (copy / "config.yaml").unlink()
    html = report(copy).read_text()
    assert "config.yaml</b> is missing" in html and "Stages" in html


def test_warnings_that_are_not_known_are_not_none(copy):
    (copy / "metrics.json").write_text('{"stages": 3}')
    html = page(copy)
    assert "what the run warned of is not known" in html and "no warnings" not in html


def test_a_run_that_was_stopped_by_an_error_says_which(copy):
    (copy / "manifest.json").unlink()
    (copy / "run.log").write_text("2026-01-01 ERROR stopped before the end\nTraceback ...\nNoSpace: x.npz: cannot be written\n")
    assert "The log ends with: NoSpace: x.npz: cannot be written" in page(copy)


def test_an_altered_file_is_shown_and_said(copy):
    told = json.loads((copy / "metrics.json").read_text())
    told["warnings"] = ["something else"]
    (copy / "metrics.json").write_text(json.dumps(told))
    html = page(copy)
    assert "metrics.json</b> was altered" in html and "something else" in html


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "many", True, -5, []])
def test_numbers_that_are_none_are_a_dash(copy, value):
    told = json.loads((copy / "metrics.json").read_text())
    last = told["stages"]["finetuned"]
    last["params"] = last["latency_ms"] = last["psnr"]["mean"] = value
    told["sparsity"]["got"], told["baselines"][0]["stages"]["solved"]["psnr"] = value, value
    (copy / "metrics.json").write_text(json.dumps(told))
    solution = json.loads((copy / "solution.json").read_text())
    solution["bound"] = solution["asked"] = solution["fidelity"]["true"][0] = value
    (copy / "solution.json").write_text(json.dumps(solution))
    html = page(copy)
    assert "Stages" in html and "nan" not in re.sub(r"data:image[^\"]*", "", html).lower().replace("finance", "")


def test_names_from_folders_are_escaped(tmp_path):
    evil = "<img src=x onerror=alert(1)>&\"'"
    folder = write_whole(tmp_path / "run<b>x", image=evil, name=evil, warnings=[evil], budget="filters")
    html = page(folder)
    assert "<img src=x" not in html and "run<b>" not in html and "&lt;img src=x" in html


def test_a_run_that_is_not_finished_says_so(copy):
    (copy / "manifest.json").unlink()
    assert "This run is not finished" in page(copy)
    (copy / "failed.json").write_text('{"code": 2, "error": "sparsity=0.9: <too> much"}')
    assert "This run failed" in page(copy) and "sparsity=0.9: &lt;too&gt; much" in page(copy)


def test_a_folder_with_only_its_settings_has_a_page(whole, tmp_path):
    shutil.copy(whole / "config.yaml", tmp_path)
    html = page(tmp_path)
    assert "not finished" in html and "what it came to is not known" in html


def test_a_classifier_is_judged_by_accuracy_and_has_no_images(copy):
    shutil.rmtree(copy / "crops")
    for name in ("metrics.json", "images.csv", "trace.csv", "epochs.csv"):
        text = (copy / name).read_text().replace("psnr", "accuracy").replace("ssim", "cross_entropy")
        (copy / name).write_text(re.sub(r"\b(2\d|30)\.(\d+)", r"0.\1\2", text))
    html = page(copy)
    assert " %" in html and "points" in html and "PSNR" not in html and 'id="images"' not in html


def test_pictures_say_their_quality_and_what_was_amplified(whole):
    parts = read_parts(whole)
    (worst, _, _), faults = examples(parts, facts(parts))
    assert not faults and [panel.title for panel in worst.panels] == ["noisy", "clean", "dense", "pruned", "difference"]
    assert worst.panels[2].caption == f"{parts.images['dense']['psnr'][0]:.2f} dB" and worst.panels[4].caption.startswith("× ")
    assert worst.title == "Worst image" and worst.note == "block_0"


def test_grey_large_and_older_pictures_are_shown(tmp_path):
    folder = write_whole(tmp_path / "run", channels=1, side=400)
    parts = read_parts(folder)
    (worst, _, _), _ = examples(parts, facts(parts))
    assert (worst.panels[0].width, worst.panels[0].height) == (256, 256) and "256 × 256 of its 400 × 400 pixels" in worst.note
    with Image.open(folder / "crops" / "worst.png") as file:
        pixels = np.asarray(file)
    Image.fromarray(pixels).save(folder / "crops" / "worst.png")  # as before files said what they show
    (worst, _, _), faults = examples(read_parts(folder), None)
    assert not faults and len(worst.panels) == 5 and worst.panels[0].caption == ""
    Image.fromarray(pixels[:, :-1]).save(folder / "crops" / "worst.png")
    assert [fault.part for fault in examples(read_parts(folder), None)[1]] == ["crops/worst.png"]
    assert len(page(folder)) < LARGEST


def test_the_layers_that_are_shown_are_the_extremes(whole):
    html = page(whole)
    assert "encoder.1.conv loses most: 2 of 6 stay" in html and "encoder.0.conv least: 5 of 8 stay, 2 of all are dead" in html


def colours():
    """The colours of both themes by their names."""
    style = files("qprune_cli.report").joinpath("templates", "style.css").read_text().split("@media print")[0]
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in style.split("@media (prefers-color-scheme: dark)")]
    return {"light": found[0], "dark": found[0] | found[1]}


def contrast(one, other):
    """Of two colours, as WCAG 2 has it."""

    def luminance(colour):
        parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
        return float(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_letters_and_signs_stand_out_in_both_themes(theme):
    known = colours()[theme]
    letters = [(ink, page) for ink in ("ink", "soft", "accent") for page in ("page", "sheet", "faint")]
    letters += [(name, f"{name}-page") for name in ("good", "bad", "note")] + [("ink", "note-page"), ("ink", "bad-page")]
    for ink, ground in letters:
        assert contrast(known[ink], known[ground]) >= 4.5, (ink, ground)
    for sign in [*(f"c{k}" for k in range(8)), "gone"]:
        assert contrast(known[sign], known["sheet"]) >= 3, sign
