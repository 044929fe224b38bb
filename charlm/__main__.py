"""``python -m charlm``, and the entry point of the installed command."""

import sys

from charlm.cli.display import say
from charlm.cli.out_of_memory import shortage


def main() -> None:
    """Run the command line; if memory runs out while its modules are loaded, say so."""
    try:
        from charlm.cli.app import main as run  # noqa: PLC0415  # what is imported here needs much more memory

        run()
    except (ImportError, MemoryError, OSError, RuntimeError) as error:
        found = shortage(error)
        if found is None:
            raise
        say(f"charlm: {found}")
        sys.exit(found.exit_code)


if __name__ == "__main__":
    main()
