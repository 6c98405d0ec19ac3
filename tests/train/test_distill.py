import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from qprune_cli.train.distill import Alike, Distillation
from qprune_cli.train.loss import LOSSES


def network(outputs=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, outputs, 1)).eval()


def test_images_are_compared_with_a_blend_of_clean_image_and_answer():
    teacher, student = network(), network()
    with torch.no_grad():
        student[2].weight.add_(0.1)
    noisy, clean = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    found = Distillation(teacher, 0.25, 1.0, 0.0)(F.mse_loss, student, noisy, clean)
    target = 0.75 * clean + 0.25 * teacher(noisy)
    assert found.item() == pytest.approx(F.mse_loss(student(noisy), target).item(), rel=1e-5)
    both = 0.75 * F.mse_loss(student(noisy), clean) + 0.25 * F.mse_loss(student(noisy), teacher(noisy))
    slopes = [torch.autograd.grad(loss, student[2].weight, retain_graph=True)[0] for loss in (found, both)]
    torch.testing.assert_close(*slopes)


def test_labels_are_joined_by_soft_ones():
    teacher, student = (nn.Sequential(nn.Flatten(), nn.Linear(12, 5)) for _ in range(2))
    images, labels = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 3])
    found = Distillation(teacher.eval(), 0.5, 2.0, 0.0)(LOSSES["cross_entropy"], student, images, labels)
    soft = -(F.softmax(teacher(images) / 2, 1) * (F.log_softmax(student(images) / 2, 1) - F.log_softmax(teacher(images) / 2, 1))).sum(1)
    assert found.item() == pytest.approx((0.5 * F.cross_entropy(student(images), labels) + 0.5 * 4 * soft.mean()).item(), rel=1e-5)


def test_features_of_kept_filters_are_compared_as_a_share_of_their_energy():
    teacher = network()
    student = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 1))
    kept = np.array([3, 1])
    with torch.no_grad():
        student[0].weight.copy_(teacher[0].weight[kept])
        student[0].bias.copy_(teacher[0].bias[kept])
    alike = {"0": Alike(np.arange(2), kept)}
    noisy, clean = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    without, same = (Distillation(teacher, 0.0, 1.0, weight, alike)(F.l1_loss, student, noisy, clean) for weight in (0.0, 5.0))
    assert same.item() == pytest.approx(without.item(), rel=1e-5)
    with torch.no_grad():
        student[0].weight.zero_()
        student[0].bias.zero_()
    without, gone = (Distillation(teacher, 0.0, 1.0, weight, alike)(F.l1_loss, student, noisy, clean) for weight in (0.0, 5.0))
    assert (gone - without).item() == pytest.approx(5.0, rel=1e-4)


def test_teacher_learns_nothing():
    teacher, student = network(), network()
    before = copy.deepcopy(teacher.state_dict())
    Distillation(teacher, 0.5, 1.0, 0.1, {"0": Alike(np.arange(4), np.arange(4))})(
        F.mse_loss, student, torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    ).backward()
    assert all(weight.grad is None for weight in teacher.parameters()) and student[0].weight.grad is not None
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
