"""What goes wrong with the store: the vendor's errors, translated and counted."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from core.errors import BituneError, ErrorCategory, UnavailableError


class StorageUnavailableError(UnavailableError):
    """The store did not answer, or refused what it should accept."""


class ObjectMissingError(BituneError):
    category = ErrorCategory.NOT_FOUND


class ObjectCorruptError(BituneError):
    """What the store returned is not what its row promises."""

    category = ErrorCategory.UNAVAILABLE


class ConditionFailedError(StorageUnavailableError):
    """If-None-Match found an object, or another write of it under way."""


class AccessRefusedError(StorageUnavailableError):
    """The store's credentials do not allow it."""


class UploadGoneError(StorageUnavailableError):
    """Aborted, or finished by a try whose answer was lost."""


class StorageErrors:
    """Translates what the vendor raises, and counts what says that the store is in trouble."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    @contextmanager
    def translated(self, key: str) -> Iterator[None]:
        try:
            with _translated(key):
                yield
        except ConditionFailedError:
            raise
        except StorageUnavailableError:
            with self._lock:
                self.count += 1
            raise


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as exc:
        raise _translate(key, exc.response.get("Error", {}).get("Code", "")) from exc
    except BotoCoreError as exc:
        raise StorageUnavailableError("storage_unavailable", "the object store cannot be reached") from exc


def _translate(key: str, code: str) -> BituneError:
    if code in {"NoSuchKey", "NoSuchUpload", "404", "NoSuchBucket"}:
        return ObjectMissingError("object_missing", f"{key} is not in the store")
    if code in {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}:
        return ConditionFailedError("object_exists", f"{key} exists")
    if code in {"AccessDenied", "403", "AllAccessDisabled"}:
        return AccessRefusedError("storage_unavailable", f"the object store refused the request ({code})")
    return StorageUnavailableError("storage_unavailable", f"the object store refused the request ({code or 'unknown'})")
