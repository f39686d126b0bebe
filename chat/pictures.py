"""Pictures that people hand in: recognised by what is in them, and made small, in a process of its own.

A picture says itself how large it is to be drawn, and its decoders are old and clever. What always
holds: the child knows four formats, has no more memory and time than it is given, and hands back
pixels that were drawn anew, without what the file says besides (where it was taken, by whom).
Nothing of Django is loaded there.
"""

from __future__ import annotations

import io
import json
import os
import resource
import select
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import IO, Any

from PIL import Image, ImageOps

FORMATS = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
SIZE = (640, 480)
PIXELS = 50_000_000
SECONDS = 15  # of a clock, and CPU_SECONDS of work
CPU_SECONDS = 5
MEMORY = 1024 * 1024 * 1024
LARGEST_THUMBNAIL = 2 * 1024 * 1024
LARGEST_HEAD = 4 * 1024
AT_ONCE = BoundedSemaphore(2)  # in this process; the others wait their turn
TURNS = tuple(Lock() for _ in range(256))  # and each person for their own before: one at a time
CHILD = "import sys; sys.path.insert(0, sys.argv[1]); from chat import pictures; pictures.answer()"


@dataclass(frozen=True)
class Picture:
    """What a picture is, and how it is shown: `width` and `height` are those of the thumbnail."""

    media_type: str
    width: int
    height: int
    thumbnail: bytes


def look_at(place: Path, *, uploader_id: int) -> Picture | None:
    """The picture in a file; None where there is none, or one that takes too much to be drawn.

    Pictures of one person are drawn one after the other, so that they hold nobody else's up.
    """
    try:
        with TURNS[uploader_id % len(TURNS)], AT_ONCE, place.open("rb", buffering=0) as file:
            if not may_be_one(file.read(12)):
                return None
            file.seek(0)
            return _believed(_ask(file))
    except subprocess.TimeoutExpired:
        return None


def may_be_one(start: bytes) -> bool:
    """Whether a file that begins so is worth a process: one of our four formats begins so."""
    is_webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return is_webp or start.startswith(
        (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
    )


def _ask(file: IO[bytes]) -> bytes:
    """What a child says of a file; nothing where it fails or says too much. Raises TimeoutExpired."""
    end = time.monotonic() + SECONDS
    with subprocess.Popen(
        [sys.executable, "-I", "-B", "-c", CHILD, str(Path(__file__).resolve().parents[1])],
        stdin=file,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
    ) as child:
        try:
            said = _read(child, end)
            return said if child.wait(max(0.0, end - time.monotonic())) == 0 else b""
        finally:
            child.kill()


def _read(child: subprocess.Popen[bytes], end: float) -> bytes:
    """All that it says; no limit of its own binds what it writes into a pipe."""
    assert child.stdout is not None
    said = b""
    asked = select.poll()
    asked.register(child.stdout, select.POLLIN)
    while asked.poll(1000 * max(0.0, end - time.monotonic())):
        block = os.read(child.stdout.fileno(), LARGEST_HEAD + LARGEST_THUMBNAIL + 1 - len(said))
        said += block
        if not block:
            return said
        if len(said) > LARGEST_HEAD + LARGEST_THUMBNAIL:
            child.kill()
            return b""
    raise subprocess.TimeoutExpired(child.args, SECONDS)


def _believed(said: bytes) -> Picture | None:
    """What a child says, which its file may have taken over, if it can be so."""
    head, _, thumbnail = said.partition(b"\n")
    try:
        found = Picture(**json.loads(head), thumbnail=thumbnail)
    except (ValueError, TypeError, RecursionError):
        return None
    sides = zip((found.width, found.height), SIZE, strict=True)
    can_be = (
        found.media_type in FORMATS.values()
        and all(type(side) is int and 0 < side <= most for side, most in sides)
        and 0 < len(thumbnail) <= LARGEST_THUMBNAIL
    )
    return found if can_be else None


def answer() -> None:
    """The child: reads the picture, writes what it is on one line, and the thumbnail after it."""
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = PIXELS
    about, thumbnail = draw(sys.stdin.buffer)
    sys.stdout.buffer.write(json.dumps(about).encode() + b"\n" + thumbnail)


def draw(file: Any) -> tuple[dict[str, Any], bytes]:
    """The first frame, upright and small, as WebP. Raises whatever Pillow does on a bad file."""
    with Image.open(file, formats=tuple(FORMATS)) as image:
        media_type = FORMATS[image.format or ""]
        if image.width * image.height > PIXELS:
            raise Image.DecompressionBombError
        image.draft("RGB", SIZE)  # a JPEG can be decoded small at once
        has_alpha = image.has_transparency_data
        upright = ImageOps.exif_transpose(image).convert("RGBA" if has_alpha else "RGB")
    upright.thumbnail(SIZE)
    shown = Image.new(upright.mode, upright.size)  # the pixels alone
    shown.paste(upright)
    into = io.BytesIO()
    shown.save(into, "WEBP", quality=80)
    about = {"media_type": media_type, "width": shown.width, "height": shown.height}
    return about, into.getvalue()


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))
