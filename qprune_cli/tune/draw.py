"""Optuna's part in what is tried next."""

import warnings
from typing import Any

from qprune_cli.compose.space import Choice, Entry
from qprune_cli.errors import UserError
from qprune_cli.sweep.job import digest


def load_optuna() -> Any:
    """Import Optuna, its messages below errors turned off.

    Returns:
        The module.

    Raises:
        UserError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError("qprune tune: Optuna is not installed; pip install 'qprune[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def sampler(seed: int, number: int) -> Any:
    """What proposes values: random ones at first, then such as lie near good ones (tree-structured Parzen estimators).

    Args:
        seed: of the search.
        number: of the trial; it goes into the seed, so that processes side by side, and a search that goes on, do not draw the same again.

    References:
        Bergstra et al., "Algorithms for hyper-parameter optimization", 2011.
    """
    drawn = int(digest([seed, number])[:8], 16)  # neighbouring seeds would draw alike
    return load_optuna().samplers.TPESampler(seed=drawn, multivariate=False)


def suggest(trial: Any, entry: Entry) -> Any:
    """Let a trial of Optuna choose a value of an entry of the space: a string of a choice, a number of a span."""
    if isinstance(entry, Choice):
        return trial.suggest_categorical(entry.name, entry.values)
    if entry.whole:
        return trial.suggest_int(entry.name, round(entry.low), round(entry.high), log=entry.log, step=round(entry.step) or 1)
    return trial.suggest_float(entry.name, entry.low, entry.high, log=entry.log, step=entry.step or None)
