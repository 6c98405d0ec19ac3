import numpy as np

from qprune_cli.evaluate.restoration import Restoration
from qprune_cli.record.refinement import FEW, refinement_line, refinement_summary, refinement_warnings
from qprune_cli.types import Quality, Solution

TASK = Restoration()


def told(before, after):
    notes = {"method": "descent", "evaluations": 30, "gradients": 0, "swapped": 1}
    notes |= {"tuned": {"before": 30.0, "after": 30.5}, "held_out": {"before": 31.0, "after": 31.2}}
    solution = Solution(np.ones(3, bool), 0.0, True, 0.0, notes=notes)
    found = {name: Quality(("a", "b"), {"psnr": np.array([psnr, psnr])}) for name, psnr in (("begun", before), ("refined", after))}
    return refinement_summary(TASK, solution, "silenced", found)


def test_line_tells_all_three_gains():
    line = refinement_line(TASK, told(29.0, 29.25))
    assert line == (
        "\nrefinement: 1 exchange by descent in 30 evaluations of the silenced network: +0.50 dB on the tuned images, "
        "+0.20 dB on the held-out images, +0.25 dB on the test images"
    )


def test_a_loss_on_the_test_images_and_few_images_are_warned_of():
    assert refinement_warnings(TASK, told(29.0, 29.25), FEW) == []
    (lost,) = refinement_warnings(TASK, told(29.0, 28.5), FEW)
    assert "gained 0.20 dB on the held-out images and lost 0.50 dB on the test images" in lost
    (few,) = refinement_warnings(TASK, told(29.0, 29.25), 8)
    assert "refined on 8 images" in few


def test_nothing_is_told_where_nothing_was_refined():
    nothing = refinement_summary(TASK, Solution(np.ones(3, bool), 0.0, True, 0.0), "silenced", {})
    assert nothing == {} and refinement_line(TASK, nothing) == "" and refinement_warnings(TASK, nothing, 4) == []
