"""Sweeps over components, with settings that only some of them have."""

import pytest

from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.errors import UserError


def test_each_job_takes_the_settings_that_its_component_has():
    composed = compose_jobs("run", ["finetune=none,adam,distill", "finetune.steps=7", "finetune.lr=0.1,0.2", "seed=0"], multirun=True)
    components = [
        (job.components["finetune"], job.settings["finetune"].get("steps"), job.settings["finetune"].get("lr")) for job in composed.jobs
    ]
    assert components == [("none", None, None), ("adam", 7, 0.1), ("adam", 7, 0.2), ("distill", 7, 0.1), ("distill", 7, 0.2)]
    assert composed.sweep.overrides[0] == ("finetune=none", "seed=0") and "finetune.steps=7" in composed.sweep.overrides[1]


def test_settings_of_what_is_swept_are_looked_for_there():
    jobs = compose_jobs("run", ["solver=greedy", "scorer=hybrid,hybrid_taylor", "scorer.beta=0.25"], multirun=True).jobs
    assert [job.settings["scorer"]["beta"] for job in jobs] == [0.25, 0.25]


@pytest.mark.parametrize("words", [["finetune=none,adam", "finetune.stepps=7"], ["finetune=none,adam", "finetune.stepps=7,8"]])
def test_a_setting_that_no_choice_has_is_refused(words):
    with pytest.raises(UserError, match=r"finetune\.stepps: no such setting"):
        compose_jobs("run", words, multirun=True)
