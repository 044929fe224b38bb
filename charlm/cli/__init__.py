"""The command line: arguments → calls → output and exit status. Only this room prints."""
