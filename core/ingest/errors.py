"""How an import ends that does not succeed."""

from core.errors import InvalidInputError


class ImportRejectedError(InvalidInputError):
    """The archive cannot become a dataset; its user has to change it."""


class FetchError(InvalidInputError):
    """The URL cannot be fetched; the message names no address and no server."""


class IngestStoppedError(Exception):
    """`should_stop` said so."""


class IngestCrashedError(Exception):
    """The child failed by itself, not by what the archive holds: a bug of ours."""


class DecodersDyingError(Exception):
    """Too many pictures killed the process that decoded them."""
