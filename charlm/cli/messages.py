"""Error messages of the command line: option names for fields, commands for remedies.

Errors raised below `charlm.cli` address callers in Python. `message` replaces the field by its option, and the remedy
by that of the error's kind in `REMEDIES`.
"""

from collections.abc import Callable

from charlm.errors import CharlmError

OPTIONS = {"count": "--next", "pattern": "--find", "signals": "--signal"}
"""The options of the fields whose names differ from their options'."""

REMEDIES: dict[str, str | Callable[..., str]] = {
    "another text": "Restore the original text, or start a new run with another --name (--init-from copies this run's "
    "weights).",
    "changes experiment": lambda *keys: f"To allow it, add {' '.join(f'--allow-change {key}' for key in keys)}.",
    "counted or trained": "Start a new run with another --name.",
    "dangling link": "Restore what it led to, or choose another --name.",
    "diverged": "If the run has saved a checkpoint, continue from it with "
    "`--resume --set training.learning_rate=RATE --allow-change training.learning_rate`.",
    "empty text": "Give a text with --text or --file.",
    "fixed at start": "Restore the settings that are fixed at start, or start a new run with another --name "
    "(--init-from copies this run's weights, if the sizes are the same).",
    "fixed at start, counted": "Restore the settings that are fixed at start, or start a new run with another --name.",
    "foreign folder": "Choose another --name, or another folder with --set run.directory=FOLDER.",
    "no config": "`charlm config init` prints one to start from.",
    "no corpus": "Restore the corpus, name its files with --corpus, or give another text with --file if the command "
    "has that option.",
    "no curves": "Free some space, move the existing files away, or train without --tensorboard.",
    "no folder of runs": "Train one with `charlm train --config FILE`, or name their folder with --directory.",
    "no latest run": "Train one with `charlm train --config FILE`, or name a checkpoint with --checkpoint.",
    "no recorded config": "Give its config: --config FILE --resume.",
    "no run folder": "Choose another folder with --set run.directory=FOLDER.",
    "no run to resume": "Name one with --name, its folder with --set run.directory=FOLDER, or start one with --config.",
    "no runs": "Name another folder with --directory.",
    "no space": "Free some space, lower run.keep, or choose another folder with --set run.directory=FOLDER.",
    "no test text": "Use --split validation.",
    "no whole checkpoint": "Start a new run from its best weights: --name NEW --init-from {}.",
    "not a run": "`charlm runs` lists runs.",
    "run in use": "Wait until it has ended, or choose another --name.",
    "several runs": "Name one with --checkpoint.",
    "precision": "Add --set training.precision=float32.",
    "precision of a run": "Add --set training.precision=float32 --allow-change training.precision.",
    "wrong config": "",
    "short text": "Give a longer one with --text or --file.",
    "unknown characters": "{} `charlm evaluate --skip-unknown` scores the text without such characters.",
}
"""The remedy for each kind of error: a template for the error's names, a function of them, or empty for none."""


def option(field: str) -> str:
    """Return the option that sets an argument of this name, such as ``--top-k`` for top_k."""
    return OPTIONS.get(field) or f"--{field.replace('_', '-')}"


def message(error: CharlmError) -> str:
    """Return an error's message for the command line: where it is, what is wrong and what to do."""
    problem = f"{option(error.field)}: {error.problem}" if error.field else error.problem
    remedy = REMEDIES.get(error.kind, error.remedy)
    if callable(remedy):
        remedy = remedy(*error.names)
    elif error.kind in REMEDIES:
        remedy = remedy.format(*error.names)
    return str(CharlmError(problem, remedy))
