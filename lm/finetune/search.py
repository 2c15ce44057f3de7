"""Which settings are tried next: a conversation in which each answer is what the last trial reached.

The same answers give the same questions, so that a search that was killed is repeated from the beginning by whoever
keeps the answers.
"""

from collections.abc import Generator
from typing import Any

from lm.finetune.search_config import Range, SearchConfig, Values

Trials = Generator[Values, float | None, None]


def proposals(config: SearchConfig) -> Trials:
    """Settings to try; it is sent the mean dev score of each, larger is better, None for a trial that diverged.

    Raises ImportError with what to install.
    """
    return _grid(config) if config.method == "grid" else _estimated(config)


def _grid(config: SearchConfig) -> Trials:
    for values in config.grid():  # noqa: UP028  `yield from` a list would send it the answers
        yield values


def _estimated(config: SearchConfig) -> Trials:
    """Optuna's tree-structured Parzen estimator, asked and told (Akiba et al. 2019)."""
    try:
        import optuna
    except ImportError as error:
        raise ImportError("method: optuna needs the package optuna: pip install -e '.[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=config.seed, n_startup_trials=config.first)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(config.trials):
        trial = study.ask()
        score = yield {key: _suggested(trial, key, choices) for key, choices in config.space.items()}
        if score is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, score)


def _suggested(trial: Any, key: str, choices: tuple[Any, ...] | Range) -> Any:
    if not isinstance(choices, Range):
        # Optuna's choices are plain values; a list or a mapping is known by its place
        return choices[trial.suggest_categorical(key, list(range(len(choices))))]
    if isinstance(choices.low, int) and isinstance(choices.high, int):
        return trial.suggest_int(key, choices.low, choices.high, log=choices.log)
    return trial.suggest_float(key, choices.low, choices.high, log=choices.log)
