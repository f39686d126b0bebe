"""The verbs of attachments: from the wish to upload to the day when the file goes.

What always holds:
  1. whoever asks is in the room at that moment, and what they may not see does not exist for them;
  2. what has not been posted belongs to its uploader alone;
  3. a file is taken whole, checked and looked at, or not at all;
  4. bytes are written while the row is locked, and never again once all are there: what was checked
     is what is sent.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import QuerySet, Sum
from django.template.defaultfilters import filesizeformat

from chat import files, pictures, scanning
from chat.errors import (
    BadRequestError,
    ChatError,
    HarmfulFileError,
    NotAllowedError,
    NotFoundError,
    OffsetError,
    TooLargeError,
    UnavailableError,
)
from chat.fields import FILLERS, INVISIBLE
from chat.models import Attachment, Message, Room
from chat.permissions import may_post
from chat.places import own
from chat.protocol import Wire
from pki.identity import Identity

User = get_user_model()
Attachments = QuerySet[Attachment]

PER_MESSAGE = 10
UNPOSTED = 50  # files of one person that are coming or wait to be posted
CHUNK_BYTES = 1024 * 1024  # of one request, where the endpoint takes that much
KEPT_UNPOSTED = dt.timedelta(hours=1)
NAME_LENGTH, SUFFIX_LENGTH = 150, 20
MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,40}/[a-z0-9][a-z0-9.+-]{0,50}")
UNKNOWN_TYPE = "application/octet-stream"
NO_FILE = "There is no such file."
GONE = "A file is not here any more. Attach it again."


# --- Uploading ------------------------------------------------------------------------------


def allowance(*, actor: Identity, room: str) -> Wire:
    """What the actor may upload into a room of theirs, and how much they have."""
    own(actor=actor, room=room)
    return {
        "file_bytes": settings.SIGNET_UPLOAD_BYTES,
        "quota_bytes": settings.SIGNET_UPLOAD_QUOTA,
        "used_bytes": _used(actor),
        "per_message": PER_MESSAGE,
        "chunk_bytes": chunk_bytes(),
    }


def chunk_bytes() -> int:
    return min(CHUNK_BYTES, int(settings.SIGNET_BODY_BYTES))


def begin(
    *, actor: Identity, room: str, name: str, size: int, media_type: str, at: dt.datetime
) -> Attachment:
    """Make room for a file in one of the actor's rooms; nobody but them sees it before it is posted.

    Refuses a room in which they may not write (NotFoundError, NotAllowedError), a file that is too
    large or empty, and one for which their share of the disk does not suffice (TooLargeError).
    """
    membership = own(actor=actor, room=room)
    if not may_post(membership):
        raise NotAllowedError("You may not write in this room.")
    if size < 1:
        raise BadRequestError("This file is empty.")
    if size > settings.SIGNET_UPLOAD_BYTES:
        raise TooLargeError(
            f"A file may have at most {filesizeformat(settings.SIGNET_UPLOAD_BYTES)}."
        )
    with transaction.atomic():
        # Two at once must not both take what is left; the lock lets them go on writing messages.
        User.objects.select_for_update(no_key=True).get(pk=actor.user_id)
        _check_share(actor, size)
        return Attachment.objects.create(
            room=membership.room,
            uploader_id=actor.user_id,
            name=clean_name(name),
            media_type=_declared(media_type),
            size=size,
            created_at=at,
        )


def receive(
    *, actor: Identity, room: str, upload: uuid.UUID, offset: int, data: bytes
) -> Attachment:
    """Add a piece to the actor's upload; the last one lets it be checked, looked at and kept.

    A piece that has been received already changes nothing. Refuses one that begins elsewhere than
    where the last one ended (OffsetError, which says where), or goes beyond the size that was told
    (TooLargeError). A file that is refused (HarmfulFileError) or cannot be checked or stored
    (UnavailableError) is removed: nothing half remains.
    """
    unposted = _own_unposted(actor=actor, room=room, upload=upload)
    try:
        attachment = _write(unposted, offset=offset, data=data)
        if attachment.received == attachment.size and not attachment.complete:
            return _finish(attachment)
    except (HarmfulFileError, UnavailableError):
        finished = unposted.filter(complete=True).first()
        if finished is not None:  # by another request with the same piece
            return finished
        _remove(unposted.filter(complete=False))
        raise
    return attachment


def cancel(*, actor: Identity, room: str, upload: uuid.UUID) -> None:
    """Remove what the actor uploaded and has not posted. Raises NotFoundError."""
    if not _remove(_own_unposted(actor=actor, room=room, upload=upload)):
        raise NotFoundError(NO_FILE)


# --- With messages --------------------------------------------------------------------------


def offered(*, actor: Identity, room: Room, ids: Sequence[str]) -> list[Wire]:
    """The wire forms of what the actor is about to post, in this order.

    Refuses what is not there, not complete, not theirs, or in a message already (NotFoundError).
    """
    if len(ids) > PER_MESSAGE:
        raise BadRequestError(f"A message may have at most {PER_MESSAGE} files.")
    found = {str(one.pk): one for one in _postable(actor, room).filter(pk__in=ids)}
    if set(found) != set(ids):
        raise NotFoundError(GONE)
    return [wire(found[key]) for key in ids]


def claim(*, actor: Identity, ids: Sequence[str], message: Message) -> None:
    """Let what was `offered` go with the actor's message, in the transaction that posts it.

    Of two messages that claim a file at the same moment one is refused (NotFoundError).
    """
    taken = _postable(actor, message.room).filter(pk__in=ids).update(message=message)
    if taken != len(set(ids)):
        raise NotFoundError(GONE)


def discard(message: Message) -> None:
    """Remove the files of a message that is deleted or expires, in the transaction that does it;
    their bytes go once it is committed."""
    _remove_rows(list(Attachment.objects.filter(message=message).values_list("pk", flat=True)))


def wire(attachment: Attachment) -> Wire:
    """As clients get it. `width` and `height` are those of the thumbnail, where there is one."""
    told: Wire = {
        "id": str(attachment.pk),
        "name": attachment.name,
        "size": attachment.size,
        "type": attachment.media_type,
    }
    if attachment.has_thumbnail:
        told |= {"width": attachment.width, "height": attachment.height, "thumbnail": True}
    return told


def find(*, actor: Identity, room: str, file: uuid.UUID) -> Attachment:
    """A file that the actor may see. NotFoundError is all that is said of others."""
    try:
        own(actor=actor, room=room)
    except ChatError:
        raise NotFoundError(NO_FILE) from None
    found = (
        Attachment.objects.select_related("message")
        .filter(pk=file, room__slug=room, complete=True)
        .first()
    )
    if found is None or not _may_see(actor, found):
        raise NotFoundError(NO_FILE)
    return found


# --- Upkeep ---------------------------------------------------------------------------------


def sweep(at: dt.datetime) -> int:
    """Remove uploads that nobody finished or posted within an hour, and bytes that belong to no row.

    One directory of 256 is looked through at a time, by the minute. Returns how many files went.
    """
    before = at - KEPT_UNPOSTED
    gone = _remove(Attachment.objects.filter(message=None, created_at__lt=before))
    return gone + remove_strays(int(at.timestamp()) // 60 % files.DIRECTORIES, before=before)


def remove_strays(directory: int, *, before: dt.datetime) -> int:
    """Remove bytes that have lain in a directory since `before` and belong to no row.

    With no row at all nothing is removed: that is rather another database than an empty disk.
    """
    found = set(files.keys(directory, before=before))
    if not found or not Attachment.objects.exists():
        return 0
    strays = found - set(Attachment.objects.filter(pk__in=found).values_list("pk", flat=True))
    for key in strays:
        files.remove(key)
    return len(strays)


# --- Names and types ------------------------------------------------------------------------


def clean_name(name: str) -> str:
    """A name as it may be shown and saved: no directories, nothing invisible, not too long."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    plain = "".join(
        c for c in last if c not in FILLERS and unicodedata.category(c) not in INVISIBLE
    )
    stem, suffix = _parted(plain.strip(". "))
    short = stem[: NAME_LENGTH - len(suffix)].rstrip(". ") + suffix
    if short == "thumbnail":  # has another meaning at the end of an address
        return "_thumbnail"
    return short or "file"


def _parted(name: str) -> tuple[str, str]:
    suffix = Path(name).suffix
    if not 1 < len(suffix) <= SUFFIX_LENGTH:
        return name, ""
    return name.removesuffix(suffix), suffix


def _declared(media_type: str) -> str:
    """What the uploader says it is. A picture has to be seen to be believed."""
    said = media_type.partition(";")[0].strip().lower()
    is_said = MEDIA_TYPE.fullmatch(said) and said not in pictures.FORMATS.values()
    return said if is_said else UNKNOWN_TYPE


# --- Rows -----------------------------------------------------------------------------------


def _used(actor: Identity) -> int:
    mine = Attachment.objects.filter(uploader_id=actor.user_id)
    return int(mine.aggregate(size=Sum("size"))["size"] or 0)


def _check_share(actor: Identity, size: int) -> None:
    used, quota = _used(actor), settings.SIGNET_UPLOAD_QUOTA
    if used + size > quota:
        raise TooLargeError(
            f"Your files take up {filesizeformat(used)} of the {filesizeformat(quota)} that you may store. "
            "Delete some first."
        )
    waiting = Attachment.objects.filter(uploader_id=actor.user_id, message=None)
    if waiting.count() >= UNPOSTED:
        raise NotAllowedError(f"Post some of the {UNPOSTED} files that you uploaded first.")


def _own_unposted(*, actor: Identity, room: str, upload: uuid.UUID) -> Attachments:
    place = own(actor=actor, room=room)
    return Attachment.objects.filter(
        pk=upload, room=place.room, uploader_id=actor.user_id, message=None
    )


def _postable(actor: Identity, room: Room) -> Attachments:
    return Attachment.objects.filter(
        room=room, uploader_id=actor.user_id, complete=True, message=None
    )


def _may_see(actor: Identity, attachment: Attachment) -> bool:
    if attachment.message is None:
        return attachment.uploader_id == actor.user_id
    return attachment.message.is_there


def _write(unposted: Attachments, *, offset: int, data: bytes) -> Attachment:
    with transaction.atomic():
        attachment = unposted.select_for_update().first()
        if attachment is None:
            raise NotFoundError(NO_FILE)
        end = offset + len(data)
        if end > attachment.size:
            raise TooLargeError("This is more than the size that was told.")
        if end <= attachment.received:
            return attachment
        if offset != attachment.received:
            raise OffsetError(attachment.received)
        files.write(attachment.pk, data, offset=offset)
        attachment.received = end
        attachment.save(update_fields=["received"])
    return attachment


def _finish(attachment: Attachment) -> Attachment:
    """Look at all of it, outside of any transaction, and keep it."""
    if not connection.in_atomic_block:  # a scanner may be slow, and others need the connection
        connection.close()
    place = files.come(attachment.pk)
    attachment.sha256 = files.fingerprint(place)
    scanning.check(place)
    picture = _picture(place, attachment.uploader_id)
    if picture is not None:
        files.write_thumbnail(attachment.pk, picture.thumbnail)
        attachment.media_type, attachment.has_thumbnail = picture.media_type, True
        attachment.width, attachment.height = picture.width, picture.height
    attachment.complete = True
    fields = ("sha256", "media_type", "width", "height", "has_thumbnail", "complete")
    with transaction.atomic():
        kept = Attachment.objects.filter(pk=attachment.pk).update(
            **{field: getattr(attachment, field) for field in fields}
        )
        if not kept:  # it was cancelled meanwhile
            files.remove(attachment.pk)
            raise NotFoundError(NO_FILE)
        files.keep(attachment.pk)
    return attachment


def _picture(place: Path, uploader_id: int) -> pictures.Picture | None:
    try:
        return pictures.look_at(place, uploader_id=uploader_id)
    except OSError as error:  # another request with the same piece has renamed it
        raise UnavailableError from error


def _remove(rows: Attachments) -> int:
    """Remove those that are still in the state that is asked for once they are locked; how many."""
    with transaction.atomic():
        locked = [attachment.pk for attachment in rows.select_for_update()]
        _remove_rows(locked)
    return len(locked)


def _remove_rows(keys: list[uuid.UUID]) -> None:
    Attachment.objects.filter(pk__in=keys).delete()
    for key in keys:
        transaction.on_commit(partial(files.remove, key), robust=True)
