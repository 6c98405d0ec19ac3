"""The measures of all tasks with their titles, units and digits, for tables that are made without torch."""

from qprune_cli.types import Measure

MEASURES = {
    measure.name: measure
    for measure in (
        Measure("psnr", "PSNR", "dB", 2, 10),
        Measure("ssim", "SSIM", "", 4, 9),
        Measure("ssim3d", "SSIM 3-D", "", 4, 9),
        Measure("accuracy", "accuracy", "%", 2, 10, 100, "points"),
        Measure("cross_entropy", "cross-entropy", "", 4, 15),
        Measure("log_likelihood", "log-likelihood", "nats", 4, 16),
    )
}


def measure_of(name: str) -> Measure:
    """How a measure is printed; one that nobody knows with four digits.

    Example:
        >>> measure_of("accuracy").number(0.9817), measure_of("other").number(0.5)
        ('98.17', '0.5000')
    """
    return MEASURES.get(name, Measure(name, name, "", 4, 10))
