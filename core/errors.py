"""The one tree of errors that a user may see."""

from enum import StrEnum
from typing import ClassVar


class ErrorCategory(StrEnum):
    """What kind of trouble it is; `api/errors.py` maps each to an HTTP status."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA = "unsupported_media"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"


class BituneError(Exception):
    """Says what happened (`message`) and what to do (`hint`), with a stable snake_case `code`."""

    category: ClassVar[ErrorCategory]
    retryable: bool = False
    retry_after_seconds: int | None = None  # None leaves it to the edge

    def __init__(self, code: str, message: str, *, hint: str = "", param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.param = param


class InvalidInputError(BituneError):
    category = ErrorCategory.INVALID


class UnauthenticatedError(BituneError):
    category = ErrorCategory.UNAUTHENTICATED


class ForbiddenError(BituneError):
    category = ErrorCategory.FORBIDDEN


class NotFoundError(BituneError):
    category = ErrorCategory.NOT_FOUND


class ConflictError(BituneError):
    category = ErrorCategory.CONFLICT


class InFlightError(ConflictError):
    """The same is being done at this moment; a little later it is done."""

    retryable = True


class TooLargeError(BituneError):
    category = ErrorCategory.TOO_LARGE


class UnsupportedMediaError(BituneError):
    category = ErrorCategory.UNSUPPORTED_MEDIA


class OverloadedError(BituneError):
    category = ErrorCategory.OVERLOADED
    retryable = True


class UnavailableError(BituneError):
    category = ErrorCategory.UNAVAILABLE
    retryable = True


class BusyError(UnavailableError):
    """A refusal on purpose, of which there are many at a time: nothing is wrong."""
