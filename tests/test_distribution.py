"""The distribution is called charlm-rnn: nothing asks pip for another project's `charlm`."""

import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def package(requirement: str) -> str:
    """Return the package that a requirement or a pin names, in pip's spelling."""
    return re.split(r"[<>=!~ ]", requirement)[0].lower().replace("_", "-")


def test_the_distribution_is_not_called_as_another_project() -> None:
    assert PROJECT["name"] == "charlm-rnn"
    assert PROJECT["scripts"] == {"charlm": "charlm.__main__:main"}


def test_no_file_names_an_extra_of_another_project() -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [name for name in listing.split("\0") if name]
    extra = b"charlm" + b"["

    assert [name for name in paths if extra in (ROOT / name).read_bytes()] == []


def test_the_development_tools_include_every_extra() -> None:
    names = {extra: {package(requirement) for requirement in requirements} for extra, requirements in EXTRAS.items()}

    assert set().union(*names.values()) == names["dev"]
    assert not any(name.startswith("charlm") for name in names["dev"])


def test_every_requirement_is_pinned() -> None:
    lines = (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {package(line) for line in lines if "==" in line}
    required = {package(line) for line in [*PROJECT["dependencies"], *chain(*EXTRAS.values())]}

    assert required <= pinned, required - pinned
