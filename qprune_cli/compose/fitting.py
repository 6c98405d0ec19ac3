"""Settings of components that a sweep chooses among: each job takes those that its own component has."""

from collections.abc import Sequence

from qprune_cli.compose.composer import Composer
from qprune_cli.compose.hydra import lines, parse
from qprune_cli.compose.keys import has_setting


def fitting(composer: Composer, jobs: Sequence[Sequence[str]], swept: frozenset[str]) -> list[tuple[str, ...]]:
    """Leave out of each job the settings that its component does not have, where another choice of the sweep has them.

    ``finetune=none,adam finetune.steps=200`` gives the steps to the second job alone. What no choice has stays, and is refused.

    Args:
        composer: of the jobs.
        jobs: the overrides of each, in Hydra's grammar.
        swept: roles that the sweep chooses for.

    Returns:
        The overrides of each job, in the same order; some may be equal now.
    """
    given = {word.split("=", 1)[0].lstrip("+~") for words in jobs for word in words}
    keys = {key for key in given if "." in key and key.partition(".")[0] in swept}
    if not keys:
        return [tuple(words) for words in jobs]
    parsed = [parse(list(words)) for words in jobs]
    bases = [composer.base(overrides) for overrides in parsed]
    somewhere = {key for key in keys if any(has_setting(base, key) for base in bases)}
    return [
        tuple(lines(one for one in overrides if one.key_or_group not in somewhere or has_setting(base, one.key_or_group)))
        for overrides, base in zip(parsed, bases, strict=True)
    ]
