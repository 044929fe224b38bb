"""``charlm config``: print a starter config, the resolved settings, or the JSON Schema."""

import json
from pathlib import Path
from typing import Annotated

import typer

from charlm.cli.delivery import deliver
from charlm.cli.display import write

app = typer.Typer(help="Create, check and describe config files.", no_args_is_help=True)

ConfigOption = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="The YAML file to read.", show_default=False)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one setting, such as model.hidden_size=256; repeatable.",
        show_default=False,
    ),
]


@app.command()
def init(
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write to this new file instead of printing.")
    ] = None,
) -> None:
    """Print a commented config with every setting at its default."""
    from charlm.cli.output_file import is_taken
    from charlm.config.writing import starter_yaml
    from charlm.errors import ConfigError

    if output is not None and is_taken(output):
        raise ConfigError(f"{output}: this file already exists and was not changed. Choose another name.")
    deliver(starter_yaml("A charlm config. Train with: charlm train --config THIS_FILE"), output)


@app.command()
def show(config: ConfigOption, settings: SetOption = None) -> None:
    """Check a config file and print every setting it resolves to."""
    from charlm.config.reading import read_config
    from charlm.config.writing import resolved_yaml

    write(resolved_yaml(read_config(config, settings or [], prefix="--set ")))


@app.command()
def schema() -> None:
    """Print the JSON Schema of config files, for editors."""
    from charlm.config.settings import Config

    write(json.dumps(Config.model_json_schema(), indent=2) + "\n")
