"""``python -m charlm``: the command line without an installed script."""

from charlm.cli.app import main

if __name__ == "__main__":
    main()
