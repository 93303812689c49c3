from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from core.images import MAX_JPEG_SCANS, ImageError, ImageLimits, decode_rgb
from tests.abuse.picture_forgery import insert_segment, repeat_scans
from tests.pictures import encode, make_picture

SIZE = (16, 12)
LIMITS = ImageLimits()
Pixel = tuple[int, int, int]


def _encode_l() -> bytes:
    return encode(Image.new("L", SIZE, 100))


def _encode_1_bit() -> bytes:
    return encode(Image.new("1", SIZE, 1))


def _encode_la() -> bytes:
    return encode(Image.new("LA", SIZE, (100, 0)))


def _encode_rgba() -> bytes:
    return encode(Image.new("RGBA", SIZE, (0, 0, 0, 128)))


def _encode_palette() -> bytes:
    picture = Image.new("P", SIZE, 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    return encode(picture)


def _encode_transparent_palette() -> bytes:
    picture = Image.new("P", SIZE, 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    return encode(picture, transparency=0)


def _encode_palette_with_alphas() -> bytes:
    picture = Image.new("P", SIZE, 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    return encode(picture, transparency=b"\x80\xff")


def _encode_rgb_with_key_colour() -> bytes:
    return encode(Image.new("RGB", SIZE, (10, 20, 30)), transparency=(10, 20, 30))


def _encode_16_bit(value: int) -> bytes:
    return encode(Image.fromarray(np.full(SIZE[::-1], value, np.uint16)))


def _encode_cmyk() -> bytes:
    return encode(Image.new("CMYK", SIZE, (0, 255, 255, 0)), "JPEG", quality=100)


def _encode_first_red_then_blue(image_format: str) -> bytes:
    frames = [Image.new("RGB", SIZE, colour) for colour in ((255, 0, 0), (0, 0, 255))]
    options = {"lossless": True} if image_format == "WEBP" else {}
    return encode(frames[0], image_format, save_all=True, append_images=frames[1:], **options)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(_encode_l(), (100, 100, 100), id="L"),
        pytest.param(_encode_1_bit(), (255, 255, 255), id="1"),
        pytest.param(_encode_la(), (255, 255, 255), id="LA"),
        pytest.param(_encode_rgba(), (127, 127, 127), id="RGBA"),
        pytest.param(_encode_palette(), (255, 0, 0), id="P"),
        pytest.param(_encode_transparent_palette(), (255, 255, 255), id="P transparent"),
        pytest.param(_encode_palette_with_alphas(), (255, 127, 127), id="P half transparent"),
        pytest.param(_encode_rgb_with_key_colour(), (255, 255, 255), id="RGB key colour"),
        pytest.param(_encode_16_bit(40_000), (156, 156, 156), id="I;16 bright"),
        pytest.param(_encode_16_bit(200), (0, 0, 0), id="I;16 dark"),
        pytest.param(_encode_cmyk(), (255, 0, 0), id="CMYK"),
        pytest.param(_encode_first_red_then_blue("GIF"), (255, 0, 0), id="GIF"),
        pytest.param(_encode_first_red_then_blue("WEBP"), (255, 0, 0), id="WEBP"),
        pytest.param(_encode_first_red_then_blue("PNG"), (255, 0, 0), id="APNG"),
    ],
)
def test_mode_is_converted_to_rgb(content: bytes, expected: Pixel) -> None:
    picture = decode_rgb(content, LIMITS)

    assert (picture.mode, picture.size) == ("RGB", SIZE)
    assert picture.getpixel((3, 3)) == expected


def test_rgb_pixels_are_unchanged() -> None:
    original = make_picture(1)

    for image_format in ("PNG", "BMP"):
        assert decode_rgb(encode(original, image_format), LIMITS).tobytes() == original.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = make_picture(1, (16, 10))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(upright, "PNG", exif=exif.tobytes())

    picture = decode_rgb(content, LIMITS)

    assert picture.size == ((16, 10) if orientation < 5 else (10, 16))
    if orientation == 6:
        assert picture.tobytes() == upright.rotate(-90, expand=True).tobytes()


def test_damaged_exif_is_ignored() -> None:
    content = encode(make_picture(1), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09garbage")

    assert decode_rgb(content, LIMITS).size == (32, 24)


def test_metadata_is_dropped() -> None:
    text = PngInfo()
    text.add_text("GPS", "secret")
    exif = Image.Exif()
    exif[0x010E] = "secret"

    picture = decode_rgb(encode(make_picture(1), pnginfo=text, exif=exif), LIMITS)

    assert b"secret" not in encode(picture)
    assert picture.info == {}
    assert not picture.getexif()


def test_zip_behind_a_jpeg_is_still_a_jpeg() -> None:
    content = encode(make_picture(1), "JPEG") + b"PK\x03\x04" + bytes(100)

    assert decode_rgb(content, LIMITS).size == (32, 24)


def _make_bomb() -> bytes:
    return encode(Image.new("1", (9_000, 9_000)))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"", "image_format_unsupported", id="empty"),
        pytest.param(b"# notes about the pictures", "image_format_unsupported", id="text"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image_format_unsupported", id="SVG"),
        pytest.param(encode(make_picture(1), "TIFF"), "image_format_unsupported", id="TIFF"),
        pytest.param(encode(make_picture(1), "ICO"), "image_format_unsupported", id="ICO"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "image_undecodable", id="PNG signature alone"),
        pytest.param(b"\xff\xd8\xff\xe0" + bytes(50), "image_undecodable", id="JPEG signature alone"),
        pytest.param(encode(make_picture(1), "JPEG")[:600], "image_truncated", id="half a JPEG"),
        pytest.param(encode(make_picture(1), "PNG")[:-600], "image_truncated", id="half a PNG"),
        pytest.param(encode(make_picture(1), "BMP")[:-600], "image_truncated", id="half a BMP"),
        pytest.param(encode(make_picture(1), "GIF")[:-600], "image_truncated", id="half a GIF"),
        pytest.param(_make_bomb(), "image_too_many_pixels", id="bomb"),
        pytest.param(encode(make_picture(1, (7, 50))), "image_too_small", id="tiny"),
    ],
)
def test_unusable_picture_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(ImageError) as error:
        decode_rgb(content, LIMITS)

    assert error.value.code == code


def test_jpeg_of_many_scans_is_refused_before_it_is_decoded() -> None:
    progressive = encode(make_picture(1), "JPEG", progressive=True)
    own = progressive.count(b"\xff\xda")

    with pytest.raises(ImageError, match="scans") as error:
        decode_rgb(repeat_scans(progressive, MAX_JPEG_SCANS + 2 - own), LIMITS)

    assert error.value.code == "image_undecodable"
    assert decode_rgb(repeat_scans(progressive, MAX_JPEG_SCANS + 1 - own), LIMITS)


def test_scans_beside_the_picture_do_not_count() -> None:
    """Of a preview in a segment, and in the film that telephones append."""
    scans = b"\xff\xda\0\x02" * 1000
    content = insert_segment(encode(make_picture(1), "JPEG"), 0xE1, scans)

    assert decode_rgb(content + scans, LIMITS).size == (32, 24)


def test_bytes_over_the_limit_are_refused() -> None:
    content = encode(make_picture(1))

    with pytest.raises(ImageError, match="bytes") as error:
        decode_rgb(content, ImageLimits(max_bytes=len(content) - 1))

    assert error.value.code == "image_too_large_bytes"
    assert decode_rgb(content, ImageLimits(max_bytes=len(content)))


def test_side_over_the_limit_is_refused() -> None:
    content = encode(make_picture(1, (40, 10)))

    with pytest.raises(ImageError, match="40 x 10"):
        decode_rgb(content, ImageLimits(max_side=39))

    assert decode_rgb(content, ImageLimits(max_side=40))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_mutated_bytes_raise_nothing_but_image_errors(image_format: str) -> None:
    original = np.frombuffer(encode(make_picture(1), image_format), np.uint8)
    generator = np.random.default_rng(0)

    for _ in range(150):
        content = original.copy()
        places = generator.integers(0, len(content), 4)
        content[places] = generator.integers(0, 256, 4)
        _decode_or_refuse(content[: generator.integers(1, len(content) + 1)].tobytes())


def _decode_or_refuse(content: bytes) -> None:
    try:
        decode_rgb(content, LIMITS)
    except ImageError:
        return
    Image.open(BytesIO(content)).close()


@pytest.mark.parametrize("cut", [1, 40, 80])
def test_damage_behind_the_first_frame_is_none(cut: int) -> None:
    content = _encode_first_red_then_blue("GIF")
    second_frame = content.index(b"\x21\xf9")

    picture = decode_rgb(content[: second_frame + 2] + b"\xff" * cut, LIMITS)

    assert picture.getpixel((0, 0)) == (255, 0, 0)
