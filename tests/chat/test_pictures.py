"""Pictures: what is recognised, what comes out, and what takes too much."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from chat import pictures

ORIENTATION, MAKER = 0x0112, 0x010F


def saved(image, kind, **options):
    into = io.BytesIO()
    image.save(into, kind, **options)
    return into.getvalue()


@pytest.fixture
def look(tmp_path):
    def look_at(data):
        (tmp_path / "file").write_bytes(data)
        return pictures.look_at(tmp_path / "file", uploader_id=1)

    return look_at


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_black(width, height):
    """A small file of a large picture."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = b"\x00" * (1 + (width + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def jpeg_of_scans(side, scans):
    """A small file that is drawn over and over: a grey square that says nothing new in each scan."""
    blocks = (side // 8) ** 2
    runs = "".join("0" + "1" * 14 for _ in range(-(-blocks // 0x7FFF)))  # as long as they can be
    bits = runs + "1" * (-len(runs) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    one_code = bytes([1, *[0] * 15])

    def part(marker, data):
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data

    scan = part(0xDA, b"\x01\x01\x10\x01\x3f\x00") + packed
    return b"".join(
        (
            b"\xff\xd8",
            part(0xDB, b"\x00" + b"\x01" * 64),
            part(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\x00"),
            part(0xC4, b"\x00" + one_code + b"\x00"),
            part(0xC4, b"\x10" + one_code + b"\xe0"),
            part(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes(-(-blocks // 8)),
            scan * scans,
            b"\xff\xd9",
        )
    )


@pytest.mark.parametrize("kind", pictures.FORMATS)
def test_picture_is_recognised_and_made_small(look, kind):
    found = look(saved(Image.new("RGB", (1280, 640), "red"), kind))
    assert (found.media_type, found.width, found.height) == (pictures.FORMATS[kind], 640, 320)
    shown = Image.open(io.BytesIO(found.thumbnail))
    assert (shown.format, shown.size) == ("WEBP", (640, 320))
    red, green, blue = shown.getpixel((300, 100))
    assert red > 240
    assert max(green, blue) < 16


def test_small_picture_keeps_its_size_and_what_shows_through(look):
    found = look(saved(Image.new("RGBA", (20, 30), (0, 0, 0, 0)), "PNG"))
    assert (found.width, found.height) == (20, 30)
    assert Image.open(io.BytesIO(found.thumbnail)).getpixel((3, 3))[3] == 0


def test_picture_is_turned_upright_and_tells_nothing_else(look):
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = 6, "a camera"
    image = Image.new("RGB", (400, 200))
    found = look(saved(image, "JPEG", exif=exif, comment=b"where it was"))
    assert (found.width, found.height) == (200, 400)
    shown = Image.open(io.BytesIO(found.thumbnail))
    assert not {"exif", "comment", "xmp", "icc_profile"} & set(shown.info)
    assert b"a camera" not in found.thumbnail


def test_moving_picture_shows_its_first_frame(look):
    frames = [Image.new("RGB", (10, 10), colour) for colour in ("red", "blue")]
    found = look(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    shown = Image.open(io.BytesIO(found.thumbnail))
    assert getattr(shown, "n_frames", 1) == 1
    assert shown.convert("RGB").getpixel((5, 5))[0] > 200


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x89PNG\r\n\x1a\nno more than this",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        saved(Image.new("RGB", (9, 9)), "BMP"),
        saved(Image.new("RGB", (9, 9)), "TIFF"),
        saved(Image.new("RGB", (90, 90)), "PNG")[:-60],
    ],
    ids=["empty", "text", "broken", "svg", "bmp", "tiff", "cut"],
)
def test_anything_else_is_no_picture(look, data):
    assert look(data) is None


def test_picture_that_is_too_large_to_be_drawn(look):
    assert look(png_of_black(7000, 7000)).width == 480
    bomb = png_of_black(50_000, 50_000)
    assert len(bomb) < 1024 * 1024
    assert look(bomb) is None


@pytest.mark.parametrize(
    "deed",
    [
        "x = bytes(2 * p.MEMORY)",
        "while True: pass",
        "import tempfile; tempfile.TemporaryFile().write(b'x' * 99999)",
    ],
    ids=["memory", "time", "disk"],
)
def test_child_that_takes_too_much_is_ended(look, monkeypatch, deed):
    monkeypatch.setattr(
        pictures,
        "CHILD",
        "import sys; sys.path.insert(0, sys.argv[1]); from chat import pictures as p\n"
        f"p.CPU_SECONDS = 1\ndef draw(_):\n {deed}\n return {{}}, b'x'\np.draw = draw; p.answer()",
    )
    monkeypatch.setattr(pictures, "SECONDS", 5)
    assert look(saved(Image.new("RGB", (9, 9)), "PNG")) is None


def test_of_a_child_that_says_too_much_no_more_is_kept_than_a_thumbnail(look, monkeypatch):
    said = "import sys; sys.stdout.buffer.write(b'{}\\n' + b'x' * 64 * 1024 * 1024)"
    monkeypatch.setattr(pictures, "CHILD", said)
    tracemalloc.start()
    try:
        assert look(saved(Image.new("RGB", (9, 9)), "PNG")) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * pictures.LARGEST_THUMBNAIL


def about(**changes):
    told = {"media_type": "image/png", "width": 9, "height": 9} | changes
    return json.dumps(told).encode()


@pytest.mark.parametrize(
    ("head", "is_taken"),
    [
        (about(), True),
        (b"hello", False),
        (b"\xff\xfe\xff", False),
        (b"[]", False),
        (b"{}", False),
        (b"[" * 4000, False),
        (about(media_type="text/html"), False),
        (about(media_type=["image/png"]), False),
        (about(width="9"), False),
        (about(width=True), False),
        (about(height=0), False),
        (about(height=481), False),
    ],
)
def test_child_is_believed_only_what_a_picture_can_be(look, monkeypatch, head, is_taken):
    said = head + b"\nthumbnail"
    monkeypatch.setattr(pictures, "CHILD", f"import sys; sys.stdout.buffer.write({said!r})")
    found = look(saved(Image.new("RGB", (9, 9)), "PNG"))
    assert found == (pictures.Picture("image/png", 9, 9, b"thumbnail") if is_taken else None)


def test_somebody_with_slow_pictures_waits_for_themselves_alone(tmp_path):
    slow, quick = tmp_path / "slow", tmp_path / "quick"
    slow.write_bytes(jpeg_of_scans(3200, 200))
    quick.write_bytes(saved(Image.new("RGB", (9, 9)), "PNG"))
    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(pictures.look_at, slow, uploader_id=1) for _ in range(3)]
        assert pictures.look_at(quick, uploader_id=2) is not None
        assert sum(one.done() for one in waiting) < 2


def test_file_that_does_not_begin_like_a_picture_costs_no_process(look, monkeypatch):
    monkeypatch.setattr(pictures, "subprocess", None)
    assert look(b"hello") is None
