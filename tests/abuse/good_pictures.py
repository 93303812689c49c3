"""Pictures that must become samples: every mode and format that is read, turned, padded and labelled in every way."""

import struct
import zlib
from functools import partial

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.abuse.picture_cases import PictureCase, take, take_as
from tests.abuse.picture_forgery import (
    drop_segments,
    insert_chunk,
    insert_segment,
    make_bmp,
    make_exif,
    make_png,
    restate_png_size,
)
from tests.pictures import encode, make_picture

SIZE = (24, 16)
WIDTH, HEIGHT = SIZE
LARGEST = (8000, 5000)  # 40 million pixels
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def list_good_pictures(seed: int) -> list[PictureCase]:
    rgb = make_picture(77_000_000 + seed, SIZE)
    return [
        *_list_png_modes(rgb),
        *_list_oriented(rgb),
        *_list_jpeg(rgb),
        *_list_others(rgb),
        *_list_labelled(rgb),
        *_list_large(),
    ]


def _list_png_modes(rgb: Image.Image) -> list[PictureCase]:
    grey, bits, palette = rgb.convert("L"), rgb.convert("1"), rgb.quantize(16)
    clear = Image.new("RGBA", SIZE, (255, 0, 0, 0))
    white = Image.new("RGB", SIZE, "white")
    half = Image.new("RGBA", SIZE, (0, 0, 0, 128))
    one_colour = Image.new("RGB", SIZE, (10, 20, 30))
    rows16 = b"".join(b"\0" + struct.pack(">H", 200 << 8) * WIDTH * 3 for _ in range(HEIGHT))
    rows2 = (b"\0" + bytes([0b11_10_01_00]) * (WIDTH // 4)) * HEIGHT
    grey2 = Image.fromarray(np.tile(np.array([255, 170, 85, 0], np.uint8), (HEIGHT, WIDTH // 4)))
    return [
        take_as("PNG, RGB", rgb, lambda: encode(rgb)),
        take_as("PNG, L", grey, lambda: encode(grey)),
        take_as("PNG, 1 bit", bits, lambda: encode(bits)),
        take_as("PNG, 2 bits", grey2, lambda: make_png(SIZE, rows2, depth=2, colour=0)),
        take_as("PNG, palette", palette, lambda: encode(palette)),
        take_as("PNG, palette, all transparent", white, lambda: encode(palette, transparency=bytes(16))),
        take_as("PNG, RGBA, hidden colour", white, lambda: encode(clear)),
        take_as("PNG, RGBA, half", Image.new("RGB", SIZE, (127, 127, 127)), lambda: encode(half)),
        take_as("PNG, LA", white, lambda: encode(Image.new("LA", SIZE, (0, 0)))),
        take_as("PNG, RGB with a key colour", white, lambda: encode(one_colour, transparency=(10, 20, 30))),
        take_as("PNG, 16 bit grey, bright", Image.new("L", SIZE, 156), lambda: _encode_16_bit(40_000)),
        take_as("PNG, 16 bit grey, dark", Image.new("L", SIZE, 0), lambda: _encode_16_bit(200)),
        take_as("PNG, 16 bit RGB", Image.new("RGB", SIZE, (200,) * 3), lambda: make_png(SIZE, rows16, depth=16)),
        take_as("PNG, interlaced", rgb, lambda: _interlace(rgb)),
        take_as("PNG, animated", rgb, lambda: encode(rgb, save_all=True, append_images=[rgb.rotate(180)])),
        take_as("PNG in many chunks", rgb, lambda: _split_chunks(encode(rgb))),
        take("PNG with rows that are missing", (24, 1600), lambda: restate_png_size(encode(rgb), 24, 1600)),
        take_as("PNG without its end", rgb, lambda: encode(rgb)[:-12]),
    ]


def _list_oriented(rgb: Image.Image) -> list[PictureCase]:
    return [
        *(
            take_as(f"PNG, turned {number}", rgb.transpose(turn), partial(encode, rgb, exif=make_exif(number)))
            for number, turn in TURNS.items()
        ),
        take_as("PNG, turned 1", rgb, lambda: encode(rgb, exif=make_exif(1))),
        take_as("PNG, turned 9", rgb, lambda: encode(rgb, exif=make_exif(9))),
        take_as(
            "WebP, turned 6", rgb.transpose(TURNS[6]), lambda: encode(rgb, "WEBP", lossless=True, exif=make_exif(6))
        ),
        take("JPEG, turned 6", (HEIGHT, WIDTH), lambda: encode(rgb, "JPEG", exif=make_exif(6))),
        take("JPEG, turned 3", SIZE, lambda: encode(rgb, "JPEG", exif=make_exif(3))),
        take(
            "JPEG, EXIF that is no EXIF",
            SIZE,
            lambda: encode(rgb, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09rubbish"),
        ),
        take(
            "JPEG, EXIF that turns in a circle",
            SIZE,
            lambda: encode(rgb, "JPEG", exif=make_exif(1)[:-4] + b"\0\0\0\x08"),
        ),
    ]


def _list_jpeg(rgb: Image.Image) -> list[PictureCase]:
    jpeg = encode(rgb, "JPEG", quality=90)
    middle = len(jpeg) * 2 // 3
    return [
        take("JPEG", SIZE, lambda: jpeg, "cat/case.jpg"),
        take("JPEG, 4:4:4", SIZE, lambda: encode(rgb, "JPEG", subsampling=0)),
        take("JPEG, grey", SIZE, lambda: encode(rgb.convert("L"), "JPEG")),
        take("JPEG, progressive", SIZE, lambda: encode(rgb, "JPEG", progressive=True)),
        take("JPEG with restart markers", SIZE, lambda: encode(rgb, "JPEG", restart_marker_blocks=1)),
        take("JPEG, CMYK of Adobe", SIZE, lambda: encode(rgb.convert("CMYK"), "JPEG")),
        take("JPEG, RGB without a transform", SIZE, lambda: encode(rgb, "JPEG", keep_rgb=True)),
        take("JPEG with a zip behind it", SIZE, lambda: jpeg + b"PK\x05\x06" + bytes(18)),
        take("JPEG with a flipped byte", SIZE, lambda: jpeg[:middle] + bytes([jpeg[middle] ^ 1]) + jpeg[middle + 1 :]),
        take("JPEG without Huffman tables", SIZE, lambda: drop_segments(jpeg, 0xC4)),  # as cameras' video has them
        take("JPEG with fill bytes", SIZE, lambda: jpeg[:2] + b"\xff" * 10 + jpeg[2:]),
        take("JPEG with two pictures", SIZE, lambda: jpeg + encode(rgb.rotate(180), "JPEG")),
    ]


def _list_others(rgb: Image.Image) -> list[PictureCase]:
    palette = rgb.quantize(64)
    pixels = np.asarray(rgb)[:, :, ::-1].tobytes()  # blue, green, red; rows are whole words already
    animated = {"save_all": True, "append_images": [palette.rotate(180)], "duration": 10}
    return [
        take("WebP", SIZE, lambda: encode(rgb, "WEBP"), "cat/case.webp"),
        take_as("WebP, lossless", rgb, lambda: encode(rgb, "WEBP", lossless=True)),
        take_as(
            "WebP, transparent",
            Image.new("RGB", SIZE, "white"),
            lambda: encode(Image.new("RGBA", SIZE, (9, 9, 9, 0)), "WEBP", lossless=True, exact=True),
        ),
        take_as(
            "WebP, animated",
            rgb,
            lambda: encode(rgb, "WEBP", lossless=True, save_all=True, append_images=[rgb.rotate(180)]),
        ),
        take_as("BMP", rgb, lambda: encode(rgb, "BMP"), "cat/case.bmp"),
        take_as("BMP, 1 bit", rgb.convert("1"), lambda: encode(rgb.convert("1"), "BMP")),
        take_as("BMP, palette", palette, lambda: encode(palette, "BMP")),
        take_as("BMP from the top down", rgb, lambda: make_bmp((WIDTH, -HEIGHT), pixels)),
        take_as("GIF", palette, lambda: encode(palette, "GIF"), "cat/case.gif"),
        take_as("GIF, interlaced", palette, lambda: encode(palette, "GIF", interlace=1)),
        take_as("GIF, animated", palette, lambda: encode(palette, "GIF", **animated)),
        take("GIF, transparent", SIZE, lambda: encode(palette, "GIF", transparency=0)),
    ]


def _list_labelled(rgb: Image.Image) -> list[PictureCase]:
    """With metadata, and under names that say otherwise."""
    text = PngInfo()
    text.add_text("Comment", "x" * 100_000, zip=True)
    profile = zlib.compress(b"profile" * 100)
    return [
        take_as("PNG with texts", rgb, lambda: encode(rgb, pnginfo=text)),
        take_as("PNG with a colour profile", rgb, lambda: insert_chunk(encode(rgb), b"iCCP", b"x\0\0" + profile)),
        take_as("PNG with an unknown chunk", rgb, lambda: insert_chunk(encode(rgb), b"abCd", b"x" * 1000)),
        take_as(
            "PNG with XMP", rgb, lambda: insert_chunk(encode(rgb), b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta/>")
        ),
        take("JPEG with a comment", SIZE, lambda: encode(rgb, "JPEG", comment=b"x" * 60_000)),
        take("JPEG with a colour profile", SIZE, lambda: encode(rgb, "JPEG", icc_profile=b"profile" * 20_000)),
        take(
            "JPEG with a strange segment",
            SIZE,
            lambda: insert_segment(encode(rgb, "JPEG"), 0xED, b"Photoshop 3.0\0" + b"8BIM" * 5),
        ),
        take_as("PNG named .jpg", rgb, lambda: encode(rgb), "cat/case.jpg"),
        take_as("PNG named .txt", rgb, lambda: encode(rgb), "cat/case.txt"),
        take_as("PNG without a suffix", rgb, lambda: encode(rgb), "cat/case"),
        take_as("PNG named .svg", rgb, lambda: encode(rgb), "cat/case.svg"),
    ]


def _list_large() -> list[PictureCase]:
    return [
        take("40 million pixels of 1 bit", LARGEST, lambda: encode(Image.new("1", LARGEST))),
        take("40 million pixels of RGB", LARGEST, lambda: encode(Image.new("RGB", LARGEST, (1, 2, 3)))),
        take("40 million pixels of JPEG", LARGEST, lambda: encode(Image.new("RGB", LARGEST, (1, 2, 3)), "JPEG")),
        take("16,384 pixels wide", (16_384, 8), lambda: encode(Image.new("L", (16_384, 8), 7))),
        take("8 pixels wide", (8, 8), lambda: encode(Image.new("L", (8, 8), 7))),
    ]


def _encode_16_bit(value: int) -> bytes:
    return encode(Image.fromarray(np.full((HEIGHT, WIDTH), value, np.uint16)))


def _interlace(rgb: Image.Image) -> bytes:
    """Adam7: seven small pictures, one behind the other."""
    pixels, rows = np.asarray(rgb), b""
    for x, y, dx, dy in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        rows += b"".join(b"\0" + row.tobytes() for row in pixels[y::dy, x::dx])
    return make_png(SIZE, rows, interlaced=True)


def _split_chunks(png: bytes) -> bytes:
    """Each byte of the pixels in a chunk of its own."""
    at = png.index(b"IDAT")
    (size,) = struct.unpack_from(">L", png, at - 4)
    content = png[at + 4 : at + 4 + size]
    pieces = [bytes([byte]) for byte in content]
    chunks = b"".join(
        struct.pack(">L", 1) + b"IDAT" + piece + struct.pack(">L", zlib.crc32(b"IDAT" + piece)) for piece in pieces
    )
    return png[: at - 4] + chunks + png[at + 8 + size :]
