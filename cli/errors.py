"""What goes wrong on the command line, said in a sentence."""


class LocalStackError(Exception):
    """The local stack cannot start or go on; the message says why and what to do."""
