import io
import zipfile
from zipfile import BadZipFile, ZipInfo

import pytest

from core.ingest.zip_content import read_content

CONTENTS = {"empty": b"", "short": b"x" * 700, "long": b"abcdefgh" * 500_000}
METHODS = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}


def _zip(content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> tuple[io.BytesIO, ZipInfo]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("cat/before.png", b"before")
        archive.writestr("cat/é.png", content)
    with zipfile.ZipFile(file) as archive:
        return file, archive.infolist()[1]


@pytest.mark.parametrize("compression", METHODS.values(), ids=METHODS.keys())
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_content_is_read(content: bytes, compression: int) -> None:
    assert read_content(*_zip(content, compression), 10**7) == content


@pytest.mark.parametrize("compression", METHODS.values(), ids=METHODS.keys())
def test_no_more_is_read_than_asked_for(compression: int) -> None:
    assert read_content(*_zip(CONTENTS["long"], compression), 1001) == CONTENTS["long"][:1001]


def test_header_that_names_another_file_is_refused() -> None:
    file, info = _zip(b"x")
    info.orig_filename = "dog/é.png"

    with pytest.raises(BadZipFile, match="name"):
        read_content(file, info, 100)


@pytest.mark.parametrize("compression", METHODS.values(), ids=METHODS.keys())
@pytest.mark.parametrize(("field", "change"), [("CRC", 1), ("file_size", 1), ("file_size", -1), ("compress_size", -1)])
def test_wrong_statement_is_refused(compression: int, field: str, change: int) -> None:
    file, info = _zip(CONTENTS["short"], compression)
    setattr(info, field, getattr(info, field) + change)

    with pytest.raises(BadZipFile):
        read_content(file, info, 10**6)
