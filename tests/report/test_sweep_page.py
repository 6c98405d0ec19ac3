"""The page of several runs: the answer first, failures said, and what comparisons say."""

import json
import re
import shutil

import pytest

from qprune_cli.report.write import report
from tests.compare.folders import IDENTITY, config, write_failed, write_run
from tests.report.folders import write_whole


def sweep(folder, *losses):
    """Runs of two solvers, each losing so much against the dense network."""
    for k, (solver, lost) in enumerate(losses):
        write_run(folder / f"{k}_{solver}", config(solver, 0.25 + 0.25 * k), psnr=IDENTITY + 8 - lost + 0.01 * (IDENTITY - IDENTITY.mean()))
    return folder


def read(folder):
    return report(folder).read_text().replace("\N{NO-BREAK SPACE}", " ")


def test_the_headline_is_the_smallest_network_without_a_shown_loss(tmp_path):
    html = read(sweep(tmp_path, ("greedy_taylor", 0.0), ("hybrid_qubo", 0.5)))
    said = re.search(r"<h1>(.*?)</h1>", html).group(1)
    assert said.startswith("solver=greedy_taylor sparsity=0.25 needs 40 % of the MACs and 30 % of the parameters without a shown loss")


def test_where_all_lose_the_one_that_loses_least_is_named(tmp_path):
    html = read(sweep(tmp_path, ("greedy_taylor", 0.9), ("hybrid_qubo", 0.5)))
    assert "Every setting loses something; solver=hybrid_qubo sparsity=0.5 least: 30.00 dB, −0.50 dB" in html


def test_charts_and_table_show_every_setting_and_runs_are_linked(tmp_path):
    folder = sweep(tmp_path, ("greedy_taylor", 0.1), ("hybrid_qubo", 0.5), ("greedy_taylor", 0.7))
    report(folder / "0_greedy_taylor")
    assert "0_greedy_taylor/report.html" not in report(folder, tmp_path / "elsewhere" / "page.html").read_text()
    html = read(folder)
    assert html.count("Quality against") >= 6 and html.count("<tr") == 1 + 3
    assert '<a href="0_greedy_taylor/report.html">' in html and 'href="1_' not in html
    assert len(re.findall(r"solver=hybrid_qubo</li>", html)) == 3, "a legend under each chart"


def test_failed_and_unfinished_jobs_are_said(tmp_path):
    folder = sweep(tmp_path, ("greedy_taylor", 0.1))
    write_failed(folder / "failed", config("greedy_l1"), "sparsity=0.9: <b>too much</b>")
    write_run(folder / "open", config("random"), finished=False)
    (write_run(folder / "broken", config("swap")) / "metrics.json").write_text("{")
    html = read(folder)
    assert "&lt;b&gt;too much" in html and "<b>failed</b>" in html and "1 of 4" in html and "broken</b>" in html and "open" in html


def test_a_sweep_of_which_nothing_has_finished_has_a_page(tmp_path):
    write_failed(tmp_path / "one", config(), "no")
    write_run(tmp_path / "two", config("swap"), finished=False)
    assert "No run has finished" in read(tmp_path)


def test_runs_on_other_images_are_apart(tmp_path):
    sweep(tmp_path, ("greedy_taylor", 0.1))
    write_run(tmp_path / "other", config(), identity=IDENTITY + 1)
    html = read(tmp_path)
    assert "Comparison 2 of 2" in html and "not comparable" in html


def test_baselines_of_runs_are_points_of_the_charts(tmp_path):
    for k in range(2):
        write_whole(tmp_path / str(k), sparsity=0.5 + 0.1 * k)
    html = read(tmp_path)
    assert "random mask, pruned" in html and "leave-one-out, re-fitted" in html


def test_warnings_that_differ_in_numbers_are_counted_together(tmp_path):
    for k in range(3):
        write_run(tmp_path / str(k), config(seed=k), warnings=[f"it gives {k}.5 dB <i>"])
    assert "dB &lt;i&gt; <b>(and 2 more runs like it)</b>" in read(tmp_path)


@pytest.mark.parametrize("damage", ["{", "[]", '{"overrides": 3}'])
def test_a_damaged_sweep_json_costs_the_command_alone(tmp_path, damage):
    sweep(tmp_path, ("greedy_taylor", 0.1))
    (tmp_path / "sweep.json").write_text(damage)
    assert 'id="repeat"' not in read(tmp_path)


def test_a_run_of_a_sweep_leads_back_to_it(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "sweep.json").write_text(json.dumps({"jobs": ["run"]}))
    assert '<a href="../report.html">' in read(tmp_path / "run")
