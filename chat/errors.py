"""What the chat refuses, as one tree. `code` is for programs, str() is the sentence for people.

ChatError
├── BadRequestError         bad_request
│   └── HarmfulFileError    bad_request     the virus scanner found something
├── UnknownOpError          unknown_op
├── NotFoundError           not_found       also: the actor may not know that it exists
├── NotAllowedError         not_allowed
├── TooLargeError           too_large
├── RateLimitedError        rate_limited    carries retry_after
├── ClientIdConflictError   client_id_conflict
├── OffsetError             offset          carries how much of an upload has been received
└── UnavailableError        unavailable     our fault; try again later
    └── StorageFullError    unavailable     the disk is full
"""

from __future__ import annotations


class ChatError(Exception):
    code = "bad_request"
    sentence = "This cannot be done."
    retry_after: float | None = None

    def __init__(self, sentence: str | None = None) -> None:
        super().__init__(sentence or self.sentence)


class BadRequestError(ChatError):
    code = "bad_request"


class HarmfulFileError(BadRequestError):
    sentence = "This file was not taken: the virus scanner found something in it."


class UnknownOpError(ChatError):
    code = "unknown_op"
    sentence = "There is no such operation."


class NotFoundError(ChatError):
    code = "not_found"
    sentence = "There is no such room."


class NotAllowedError(ChatError):
    code = "not_allowed"
    sentence = "You may not do this."


class TooLargeError(ChatError):
    code = "too_large"
    sentence = "This is too large."


class RateLimitedError(ChatError):
    code = "rate_limited"
    sentence = "That was too fast. Wait a moment."

    def __init__(self, retry_after: float, sentence: str | None = None) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class ClientIdConflictError(ChatError):
    code = "client_id_conflict"
    sentence = "This client_id stands for another message already."


class OffsetError(ChatError):
    code = "offset"
    sentence = "The upload goes on elsewhere."

    def __init__(self, received: int) -> None:
        super().__init__()
        self.received = received


class UnavailableError(ChatError):
    code = "unavailable"
    sentence = "The server could not do this now. Try again in a moment."


class StorageFullError(UnavailableError):
    sentence = "The server has no room for more files. Tell an admin."
