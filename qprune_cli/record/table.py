"""The short tables at the end of a command."""

from qprune_cli.evaluate.interval import ci95
from qprune_cli.types import Quality, Stage

HEAD = f"{'':<8}{'PSNR':>10}{'SSIM':>9}{'filters':>9}{'params':>10}{'MACs':>10}"


def run_table(identity: Quality, dense: Stage, pruned: Stage) -> str:
    """Noisy images, dense and pruned network, and the paired difference of the last two."""
    change = pruned.quality.psnr - dense.quality.psnr
    low, high = ci95(change)
    rows = [train_table(identity, dense), _row("pruned", pruned.quality) + _size(pruned)]
    rows.append(f"pruned - dense: {change.mean():+.2f} dB, 95 % interval [{low:+.2f}, {high:+.2f}] over {len(change)} images")
    return "\n".join(rows)


def train_table(identity: Quality, dense: Stage) -> str:
    """Noisy images and dense network."""
    return "\n".join([HEAD, _row("noisy", identity), _row("dense", dense.quality) + _size(dense)])


def _row(name: str, quality: Quality) -> str:
    return f"{name:<8}{quality.psnr.mean():>7.2f} dB{quality.ssim.mean():>9.4f}"


def _size(stage: Stage) -> str:
    size = stage.footprint
    return f"{size.filters:>9,}{size.params:>10,}{size.macs / 1e9:>8.3f} G"
