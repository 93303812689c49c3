"""What goes wrong on the command line."""


class LocalStackError(Exception):
    """The local stack cannot start or go on; the message says why and what to do."""
