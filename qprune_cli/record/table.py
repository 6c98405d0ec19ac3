"""The short tables at the end of a command."""

from qprune_cli.evaluate.interval import ci95
from qprune_cli.types import Quality, Stage


def run_table(identity: Quality, dense: Stage, pruned: Stage) -> str:
    """Noisy images, dense and pruned network, and the paired difference of the last two."""
    change = pruned.quality.psnr - dense.quality.psnr
    low, high = ci95(change)
    rows = [train_table(identity, dense), _row("pruned", pruned.quality) + _size(pruned)]
    rows.append(f"pruned - dense: {change.mean():+.2f} dB, 95 % interval [{low:+.2f}, {high:+.2f}] over {len(change)} images")
    return "\n".join(rows)


def train_table(identity: Quality, dense: Stage) -> str:
    """Noisy images and dense network."""
    volume = "" if identity.ssim3d is None else f"{'SSIM 3-D':>9}"
    head = f"{'':<8}{'PSNR':>10}{'SSIM':>9}{volume}{'filters':>9}{'params':>12}{'MACs':>10}"
    return "\n".join([head, _row("noisy", identity), _row("dense", dense.quality) + _size(dense)])


def _row(name: str, quality: Quality) -> str:
    volume = "" if quality.ssim3d is None else f"{quality.ssim3d.mean():>9.4f}"
    return f"{name:<8}{quality.psnr.mean():>7.2f} dB{quality.ssim.mean():>9.4f}{volume}"


def _size(stage: Stage) -> str:
    size = stage.footprint
    filters = "" if size.filters is None else f"{size.filters:,}"
    return f"{filters:>9}{size.params:>12,}{size.macs / 1e9:>8.3f} G"
