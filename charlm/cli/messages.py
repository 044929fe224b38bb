"""An error of charlm in the words of the command line: options for fields, commands for remedies.

Below the command line errors speak to a caller in Python. `message` puts the option's name in the place of a field,
and for a kind of error that `REMEDIES` knows what to type in the place of its remedy.
"""

from collections.abc import Callable

from charlm.errors import CharlmError

OPTIONS = {"count": "--next", "pattern": "--find", "signals": "--signal"}
"""The option of a field, where it is not the field's own name."""

REMEDIES: dict[str, str | Callable[..., str]] = {
    "another text": "Bring that back, or start a run of its own with another --name (--init-from takes this one's "
    "weights along).",
    "changes experiment": lambda *keys: f"If that is meant, add {' '.join(f'--allow-change {key}' for key in keys)}.",
    "counted or trained": "Start a run of its own with another --name.",
    "diverged": "Where the run has saved a checkpoint, go on from it with "
    "`--resume --set training.learning_rate=RATE --allow-change training.learning_rate`.",
    "empty text": "Give some with --text or --file.",
    "fixed at start": "Take back what is fixed at start, or start a run of its own with another --name (--init-from "
    "takes this one's weights along, if its sizes stay).",
    "fixed at start, counted": "Take back what is fixed at start, or start a run of its own with another --name.",
    "no config": "`charlm config init` prints one to start from.",
    "no corpus": "Restore the corpus, or give another text where the command has --file.",
    "no curves": "Free some space, move away what is there, or train without --tensorboard.",
    "no folder of runs": "Train one with `charlm train --config FILE`, or say where they are with --directory.",
    "no latest run": "Train one with `charlm train --config FILE`, or name a checkpoint with --checkpoint.",
    "no run folder": "Choose another place with --set run.directory=FOLDER.",
    "no runs": "Name another folder with --directory.",
    "no space": "Free some space, lower run.keep, or choose another place with --set run.directory=FOLDER.",
    "no test text": "Use --split validation.",
    "no whole checkpoint": "Start a new run from its best weights: --name NEW --init-from {}.",
    "not a run": "`charlm runs` lists runs.",
    "run in use": "Wait until it has ended, or choose another --name.",
    "wrong config": "",
    "short text": "Give a longer one with --text or --file.",
}
"""What to do about each kind of error: a template for the error's names, or a function of them; empty for nothing."""


def option(field: str) -> str:
    """Return the option that sets an argument of this name, such as ``--top-k`` for top_k."""
    return OPTIONS.get(field) or f"--{field.replace('_', '-')}"


def message(error: CharlmError) -> str:
    """Return where an error is, what is wrong and what to do, in the words of the command line."""
    problem = f"{option(error.field)}: {error.problem}" if error.field else error.problem
    remedy = REMEDIES.get(error.kind, error.remedy)
    if callable(remedy):
        remedy = remedy(*error.names)
    elif error.kind in REMEDIES:
        remedy = remedy.format(*error.names)
    return str(CharlmError(problem, remedy))
