"""How an import ends that does not succeed."""

from core.errors import InvalidInputError


class ImportRejectedError(InvalidInputError):
    """The archive cannot become a dataset; its user has to change it."""


class FetchError(InvalidInputError):
    """The URL cannot be fetched; the message names no address and no server."""


class FetchInterruptedError(FetchError):
    """The URL could not be fetched this time: a name, a network or a server that may be back in a while."""


class IngestStoppedError(Exception):
    """`should_stop` said so."""


class IngestCrashedError(Exception):
    """The child failed, and not by what the archive holds: a bug of ours, or somebody killed it."""


class DecodersDyingError(Exception):
    """Too many pictures killed the process that decoded them."""
