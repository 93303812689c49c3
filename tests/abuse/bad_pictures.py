"""Pictures that must be left out, each with the finding that says why: cut off, damaged, of other formats, bombs."""

import zlib
from functools import partial

from PIL import Image

from tests.abuse.picture_cases import PictureCase, leave_out
from tests.abuse.picture_forgery import (
    PNG_SIGNATURE,
    chunk,
    drop_segments,
    insert_chunk,
    insert_segment,
    make_bmp,
    make_png,
    repeat_scans,
    restate_gif_canvas,
    restate_jpeg_size,
    restate_png_size,
)
from tests.pictures import encode, make_picture

SIZE = (24, 16)
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
OTHER_FORMATS = ("TIFF", "ICO", "PPM", "TGA", "PCX", "SGI", "DDS", "ICNS", "JPEG2000", "PDF", "EPS", "AVIF", "QOI")
OTHER_FILES = {
    "nothing": b"",
    "text": b"not a picture\n" * 50,
    "HTML": b"<!doctype html><img src=x onerror=alert(1)>",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "ImageMagick script": b"push graphic-context\nfill 'url(https://example.com/x\"|id\")'\npop graphic-context",
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500),
    "PSD": b"8BPS\0\x01" + bytes(500),
    "FITS": b"SIMPLE  =                    T" + bytes(2880),
    "WMF": b"\xd7\xcd\xc6\x9a" + bytes(500),
    "zip": b"PK\x03\x04" + bytes(500),
}


def list_bad_pictures(seed: int) -> list[PictureCase]:
    rgb = make_picture(88_000_000 + seed, SIZE)
    return [
        *_list_cut_off(rgb),
        *_list_other_formats(rgb),
        *_list_damaged(rgb),
        *_list_bombs(rgb),
        *_list_wrong_sizes(rgb),
    ]


def _list_cut_off(rgb: Image.Image) -> list[PictureCase]:
    halves = {name: encode(rgb, name) for name in FORMATS}
    return [
        *(
            leave_out(
                f"{name} cut in half",
                "image_undecodable" if name in {"WEBP", "GIF"} else "image_truncated",
                partial(bytes, content[: len(content) // 2]),
            )
            for name, content in halves.items()
        ),
        *(
            leave_out(
                f"{name} of 20 bytes",
                "image_truncated" if name in {"PNG", "BMP"} else "image_undecodable",
                partial(bytes, content[:20]),
            )
            for name, content in halves.items()
        ),
        leave_out("PNG, signature alone", "image_undecodable", lambda: PNG_SIGNATURE),
        leave_out("JPEG, signature alone", "image_undecodable", lambda: b"\xff\xd8\xff\xe0" + bytes(50)),
    ]


def _list_other_formats(rgb: Image.Image) -> list[PictureCase]:
    unsupported = "image_format_unsupported"
    return [
        *(
            leave_out(
                f"{name} named .png",
                unsupported,
                partial(encode, rgb, name),
            )
            for name in OTHER_FORMATS
        ),
        *(
            leave_out(f"{what} named .png", unsupported, partial(bytes, content))
            for what, content in OTHER_FILES.items()
        ),
        leave_out("TIFF", unsupported, lambda: encode(rgb, "TIFF"), "cat/case.tif"),
        leave_out("text", "not_an_image", lambda: b"notes", "cat/case.txt"),
        leave_out("zip of pictures", "not_an_image", lambda: b"PK\x03\x04" + encode(rgb), "cat/case.zip"),
    ]


def _list_damaged(rgb: Image.Image) -> list[PictureCase]:
    png, jpeg, gif, webp = (encode(rgb, name) for name in ("PNG", "JPEG", "GIF", "WEBP"))
    at = png.index(b"IDAT") + 4
    undecodable = "image_undecodable"
    return [
        leave_out("PNG with a damaged header", undecodable, lambda: png[:16] + b"\x7f" + png[17:]),
        leave_out(
            "PNG with a damaged checksum", undecodable, lambda: png[:at] + bytes([png[at + 20] ^ 1]) + png[at + 1 :]
        ),
        leave_out("PNG with rows that are no deflate", undecodable, lambda: _replace_rows(png, b"rubbish" * 20)),
        leave_out("PNG with an unknown filter", undecodable, lambda: make_png(SIZE, (b"\x09" + bytes(72)) * 16)),
        leave_out("PNG without pixels", undecodable, lambda: png[:33] + chunk(b"IEND", b"")),
        leave_out("PNG with 3 bits", undecodable, lambda: make_png(SIZE, bytes(73 * 16), depth=3)),
        leave_out("PNG with an unknown colour type", undecodable, lambda: make_png(SIZE, bytes(73 * 16), colour=5)),
        leave_out("PNG with a huge chunk", "image_truncated", lambda: png[:33] + b"\x7f\xff\xff\xffabCd" + png[33:]),
        leave_out("JPEG without quantisation tables", undecodable, lambda: drop_segments(jpeg, 0xDB)),
        leave_out("JPEG without a frame", undecodable, lambda: drop_segments(jpeg, 0xC0)),
        leave_out(
            "JPEG with two frames",
            undecodable,
            lambda: insert_segment(jpeg, 0xC0, jpeg[jpeg.index(b"\xff\xc0") + 4 :][:15]),
        ),
        leave_out(
            "JPEG of 7 components", undecodable, lambda: jpeg.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x07")
        ),
        leave_out("GIF without a frame", undecodable, lambda: gif[:13] + b";"),
        leave_out("GIF with wide codes", undecodable, lambda: _widen_codes(gif)),
        leave_out("WebP with a damaged stream", undecodable, lambda: webp[:20] + b"\xff" * 10 + webp[30:]),
        leave_out("WebP that says it is longer", undecodable, lambda: webp[:4] + b"\xff\xff\xff\x7f" + webp[8:]),
        leave_out("BMP of 3 bits", undecodable, lambda: make_bmp(SIZE, bytes(2000), bits=3)),
        leave_out("BMP with an unknown compression", undecodable, lambda: make_bmp(SIZE, bytes(2000), compression=9)),
    ]


def _list_bombs(rgb: Image.Image) -> list[PictureCase]:
    pixels = "image_too_many_pixels"
    png, jpeg, gif = (encode(rgb, name) for name in ("PNG", "JPEG", "GIF"))
    text = zlib.compress(bytes(100_000_000))
    return [
        leave_out("PNG of 9,000 x 9,000", pixels, lambda: encode(Image.new("1", (9_000, 9_000)))),
        leave_out("PNG of 13,000 x 13,000", pixels, lambda: encode(Image.new("1", (13_000, 13_000)))),
        leave_out("PNG of 40,000,001 pixels", pixels, lambda: restate_png_size(png, 1, 40_000_001)),
        leave_out("PNG that says 2 billion square", pixels, lambda: restate_png_size(png, 2**31 - 1, 2**31 - 1)),
        leave_out(
            "PNG with a text of 100 MB", "image_undecodable", lambda: insert_chunk(png, b"zTXt", b"x\0\0" + text)
        ),
        leave_out("JPEG that says 65,500 square", pixels, lambda: restate_jpeg_size(jpeg, 65_500, 65_500)),
        leave_out("JPEG of 50,000 scans", "image_undecodable", lambda: repeat_scans(_make_progressive(), 50_000)),
        leave_out("GIF that says 65,535 square", pixels, lambda: restate_gif_canvas(gif, 65_535, 65_535)),
        leave_out("WebP of 8,000 x 8,000", pixels, lambda: encode(Image.new("RGB", (8_000, 8_000)), "WEBP", method=0)),
        leave_out("BMP that says 2 billion wide", pixels, lambda: make_bmp((2**31 - 1, 16), bytes(2000))),
        leave_out("BMP that says 2 billion high", pixels, lambda: make_bmp((24, -(2**31 - 1)), bytes(2000))),
        leave_out("16,385 pixels wide", pixels, lambda: encode(Image.new("L", (16_385, 8)))),
        leave_out("more than 30 MB", "image_too_large_bytes", lambda: _pad(png, 30_000_001)),
    ]


def _list_wrong_sizes(rgb: Image.Image) -> list[PictureCase]:
    png, jpeg = encode(rgb), encode(rgb, "JPEG")
    return [
        leave_out("7 pixels wide", "image_too_small", lambda: encode(make_picture(1, (7, 50)))),
        leave_out("1 pixel", "image_too_small", lambda: encode(make_picture(1, (1, 1)))),
        leave_out("PNG that says 0 wide", "image_undecodable", lambda: restate_png_size(png, 0, 16)),
        leave_out("JPEG that says 0 high", "image_undecodable", lambda: restate_jpeg_size(jpeg, 24, 0)),
    ]


def _make_progressive() -> bytes:
    return encode(Image.new("RGB", (2_000, 2_000), (9, 99, 200)), "JPEG", progressive=True)


def _replace_rows(png: bytes, rows: bytes) -> bytes:
    return png[: png.index(b"IDAT") - 4] + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _widen_codes(gif: bytes) -> bytes:
    at = gif.index(b",", 13 + 3 * 256)  # the frame, behind the palette
    return gif[: at + 10] + b"\x0d" + gif[at + 11 :]


def _pad(png: bytes, size: int) -> bytes:
    """Of noise that a zip cannot shrink much: the archive must not be taken for a bomb."""
    noise = make_picture(2, (1000, 1000)).tobytes()
    return insert_chunk(png, b"abCd", (noise * (size // len(noise) + 1))[: size - len(png) - 12])
