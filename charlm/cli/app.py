"""The command-line application: the commands, and the conversion of errors into messages and exit codes."""

import os
import sys
from typing import Annotated, Any

import typer

from charlm.cli import config, evaluate, inspect_gradients, inspect_hidden, runs, sample, train, vocabulary
from charlm.cli.display import abandon_output, flush, say
from charlm.cli.messages import message
from charlm.cli.out_of_memory import MemoryGuard
from charlm.cli.usage import EscapedUsage
from charlm.errors import CharlmError, StorageError
from charlm.version import __version__

INTERRUPTED = 130
_TRAINING = "Lower model.hidden_size, training.batch_size or training.sequence_length, or use a shorter text."


class _Commands(EscapedUsage):
    """Group of commands that prints charlm's errors on standard error and exits with their exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the selected command."""
        try:
            with MemoryGuard(lambda: _TRAINING if ctx.invoked_subcommand == "train" else "Use a shorter text."):
                result = super().invoke(ctx)
                flush()
        except CharlmError as error:
            if isinstance(error, StorageError):
                abandon_output()
            say(f"charlm: {message(error)}")
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            say("")
            raise typer.Exit(INTERRUPTED) from error
        return result


app = typer.Typer(
    name="charlm",
    cls=_Commands,
    help="Character-level recurrent language models: train, sample, and look inside.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("sample")(sample.sample)
app.command("inspect-hidden")(inspect_hidden.inspect_hidden)
app.command("inspect-gradients")(inspect_gradients.inspect_gradients)
app.command("evaluate")(evaluate.evaluate)
app.command("vocabulary")(vocabulary.vocabulary)
app.add_typer(config.app, name="config")
app.add_typer(runs.app, name="runs")


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"charlm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Character-level recurrent language models: train, sample, and look inside."""


def main() -> None:
    """Run the command line; the entry point that the package installs."""
    if sys.stdout is None:
        say("charlm: standard output is closed. Open it or redirect it to a file.")
        sys.exit(StorageError.exit_code)
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr] # a TextIOWrapper here
    try:
        app()
    except SystemExit as ending:
        if isinstance(ending.__context__, BrokenPipeError):  # the reader closed the pipe: `charlm sample | head`
            abandon_output()
            sys.exit(0)
        raise
    except OSError as error:
        _end_if_output_is_broken(error)
        raise
    finally:
        _flush_messages()


def _flush_messages() -> None:
    """Flush standard error, or drop what a closed terminal did not take; otherwise Python would exit with 120."""
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _end_if_output_is_broken(error: OSError) -> None:
    """Exit if the help or the version could not be written; commands report their own output errors."""
    try:
        sys.stdout.flush()
    except OSError:
        abandon_output()
        say(f"charlm: standard output: cannot write ({error.strerror}). Redirect the output elsewhere.")
        sys.exit(StorageError.exit_code)
