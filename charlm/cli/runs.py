"""``charlm runs``: list runs, show one, compare several."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from charlm.cli.delivery import as_json, deliver
from charlm.cli.display import facts, printable, say, show, write
from charlm.cli.messages import message
from charlm.errors import ConfigError
from charlm.home_folder import from_home

if TYPE_CHECKING:
    from rich.console import RenderableType

    from charlm.runs.history import Difference, History
    from charlm.runs.metrics import Evaluation

_NOTHING = "—"
_IN_MODEL = ("model.kind", "model.num_layers", "model.hidden_size", "model.order")
"""Settings that the model column already shows."""


class _ListsByDefault(TyperGroup):
    """Group of commands that runs ``list`` if no command is given, so that ``charlm runs`` takes its options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert ``list`` if the first argument is not a command."""
        named = args and (not args[0].startswith("-") or args[0] in self.get_help_option_names(ctx))
        return super().parse_args(ctx, args if named else ["list", *args])


app = typer.Typer(
    cls=_ListsByDefault, help="List runs, show one or compare several. Default: list.", no_args_is_help=False
)


def _in_home(directory: Path) -> Path:
    return from_home(directory)


DirectoryOption = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Folder that contains the folders of runs.", callback=_in_home)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_runs(directory: DirectoryOption = Path("runs"), json_: JsonOption = False) -> None:
    """List all runs, the most recently trained last."""
    from charlm.runs.history import differences, latest_name, read_runs

    histories, unreadable = read_runs(directory)
    latest = latest_name(directory)
    found = differences([history.config for history in histories]) if histories else []
    if json_:
        runs = [
            _record(history) | {"latest": history.name == latest, "settings": _values(found, place)}
            for place, history in enumerate(histories)
        ]
        problems = [{"path": str(run.path), "problem": message(run.error)} for run in unreadable]
        write(as_json({"directory": str(directory), "runs": runs, "unreadable": problems}))
        return
    if histories:
        show(_run_table(histories, found, latest))
    elif not unreadable:  # not an error, like `git branch` in a new repository
        say(f"charlm: there are no runs in {directory}/ yet. Train one with `charlm train --config FILE`.")
    for run in unreadable:
        say(f"charlm: {message(run.error)}")


@app.command("show")
def show_run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A run's name, or the path of its folder.")],
    directory: DirectoryOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Show a run's model, settings, results and files."""
    from charlm.runs.history import REPORT, find_run, read_history
    from charlm.runs.lookup import BEST, full_checkpoints

    history = read_history(find_run(name, directory))
    checkpoints = [path for path in (*full_checkpoints(history.path), history.path / BEST) if path.is_file()]
    report = history.path / REPORT
    if json_:
        folder = {
            "checkpoints": [str(path) for path in checkpoints],
            "report": str(report) if report.is_file() else None,
            "evaluations": len(history.evaluations),
            "last": history.last.model_dump(exclude={"sample"}) if history.last else None,
            "chosen": {change.key: change.now for change in history.chosen},
            "config": history.config.model_dump(mode="json"),
        }
        write(as_json(_record(history) | folder))
        return
    rows = [
        ("model", history.model),
        ("text", _shown(history.config.data.path)),
        *_results(history),
        ("evaluations", f"{len(history.evaluations):,}"),
        *(("checkpoint", printable(str(path))) for path in checkpoints),
        ("report", printable(str(report)) if report.is_file() else _NOTHING),
    ]
    show(facts(printable(str(history.path)), rows))
    chosen = [(change.key, _shown(change.now)) for change in history.chosen]
    show(facts("settings that differ from their defaults", chosen or [("none", "")]))
    if history.last:
        show(facts(f"evaluation at step {history.last.step:,}", _measures(history.last)))


@app.command("compare")
def compare_runs(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of runs, or paths of their folders.")],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with the curves of all runs to this file.")
    ] = None,
    directory: DirectoryOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Show the results of runs, and the settings in which they differ, side by side."""
    from charlm.runs.history import differences, find_run, read_history

    paths = [find_run(name, directory) for name in names]
    _check_different(names, paths)
    histories = [read_history(path) for path in paths]
    found = differences([history.config for history in histories])
    if output is not None:
        from charlm.pages.comparison import comparison_page

        deliver(comparison_page(histories), output)
    if json_:
        rows = {row.key: list(row.values) for row in found}
        write(as_json({"runs": [_record(history) for history in histories], "differences": rows}))
    else:
        show(_comparison_table(histories, found))
        if output is None:
            say("charlm: --output FILE writes a page with the curves of these runs.")


def _check_different(names: Sequence[str], paths: Sequence[Path]) -> None:
    """Raise ConfigError unless two or more different runs are named."""
    if len(paths) < 2:
        raise ConfigError(f"{names[0]}: a comparison needs two runs or more. `charlm runs` lists runs.")
    first: dict[Path, str] = {}
    for name, path in zip(names, paths, strict=True):
        place = path.resolve()
        if place in first:
            raise ConfigError(f"{name}: this is the same run as {first[place]}. Name each run once.")
        first[place] = name


def _record(history: "History") -> dict[str, Any]:
    """Return the values of a run that every JSON output contains."""
    best, last = history.best, history.last
    return {
        "name": history.name,
        "path": str(history.path),
        "model": history.model,
        "best_bits_per_character": best.validation_bits if best else None,
        "best_step": best.step if best else None,
        "step": last.step if last else None,
        "characters": last.characters if last else None,
        "seconds": last.seconds if last else None,
    }


def _results(history: "History") -> list[tuple[str, str]]:
    """Return the results of a run as names and formatted values."""
    best, last = history.best, history.last
    return [
        ("best, bits per character", f"{best.validation_bits:.3f}" if best else _NOTHING),
        ("at step", f"{best.step:,}" if best else _NOTHING),
        ("characters seen", f"{last.characters:,}" if last else _NOTHING),
        ("time", _time(last)),
    ]


def _time(evaluation: "Evaluation | None") -> str:
    from charlm.pages.formatting import duration

    return _NOTHING if evaluation is None or evaluation.seconds is None else duration(evaluation.seconds)


def _measures(evaluation: "Evaluation") -> list[tuple[str, str]]:
    measures = {
        "training loss": (evaluation.train_bits, "{:.3f} bits"),
        "validation loss": (evaluation.validation_bits, "{:.3f} bits"),
        "learning rate": (evaluation.learning_rate, "{:.3g}"),
        "gradient norm": (evaluation.gradient_norm, "{:.3g}"),
        "characters per second": (evaluation.characters_per_second, "{:,.0f}"),
    }
    return [(name, _NOTHING if value is None else form.format(value)) for name, (value, form) in measures.items()]


def _run_table(histories: "Sequence[History]", found: "Sequence[Difference]", latest: str | None) -> "RenderableType":
    rows = []
    for place, history in enumerate(histories):
        best, _, characters, time = (words for _, words in _results(history))
        name = f"{history.name} (latest)" if history.name == latest else history.name
        rows.append((name, history.model, _apart(history, _values(found, place)), best, characters, time))
    return _table(("run", "model", "differing settings", "best bits", "characters", "time"), rows)


def _apart(history: "History", values: Mapping[str, object]) -> str:
    """Return the settings in which a run differs from the others, without those at their default."""
    chosen = {change.key for change in history.chosen} | {"data.path"}
    shown = {key: value for key, value in values.items() if key in chosen and key not in _IN_MODEL}
    if shown.get("training.epochs", 0) is None:  # implied by the number of steps
        del shown["training.epochs"]
    return ", ".join(f"{key.partition('.')[2]} {_shown(value)}" for key, value in shown.items())


def _comparison_table(histories: "Sequence[History]", found: "Sequence[Difference]") -> "RenderableType":
    results = zip(*(_results(history) for history in histories), strict=True)
    rows = [(row[0][0], *(value for _, value in row)) for row in results]
    rows += [(row.key, *map(_shown, row.values)) for row in found]
    return _table(("", *(history.name for history in histories)), rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "RenderableType":
    """Return a table whose cells are not parsed as markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(Text(printable(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _values(found: "Sequence[Difference]", place: int) -> dict[str, object]:
    """Return the settings in which runs differ, with the values of the run at this index."""
    return {row.key: row.values[place] for row in found}


def _shown(value: object) -> str:
    from charlm.pages.formatting import setting

    return setting(value)
