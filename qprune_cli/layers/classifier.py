"""What classifiers have in common: checks of their settings, and their first weights."""

from torch import nn

from qprune_cli.errors import UserError, nearest
from qprune_cli.weights.checkpoint import check_channels

POOLS = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}


def check_classifier(channels: int, side: int, classes: int) -> None:
    """Refuse images that no classifier takes, and a choice among fewer than two classes.

    Raises:
        UserError: a value is out of range.
    """
    check_channels(channels)
    if side < 8:
        raise UserError(f"model.side={side}: give the side of the images, at least 8 pixels")
    if classes < 2:
        raise UserError(f"model.classes={classes}: give a number of classes, at least 2")


def check_pool(pool: str) -> None:
    """Refuse a pooling that does not exist.

    Raises:
        UserError: no such pooling.
    """
    if pool not in POOLS:
        raise UserError(f"model.pool={pool}: no such pooling; {nearest(pool, POOLS)}")


def he_init_(network: nn.Module) -> nn.Module:
    """Draw the weights of convolutions and linear layers anew, with He's variance for ReLU; biases become 0.

    Returns:
        The network itself.

    References:
        He, Zhang, Ren, Sun, "Delving deep into rectifiers: surpassing human-level performance on ImageNet classification",
        ICCV 2015, arXiv:1502.01852.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
