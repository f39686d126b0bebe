from chat import errors

CODES = {
    "bad_request",
    "unknown_op",
    "not_found",
    "not_allowed",
    "too_large",
    "rate_limited",
    "client_id_conflict",
    "offset",
    "unavailable",
}


def test_every_code_of_the_protocol_has_one_error():
    found = [error.code for error in errors.ChatError.__subclasses__()]
    assert sorted(found) == sorted(CODES)


def test_sentence_of_an_error_may_be_said_better():
    assert str(errors.NotFoundError()) == "There is no such room."
    assert str(errors.NotFoundError("Nobody.")) == "Nobody."


def test_rate_limit_says_when_to_try_again():
    assert errors.RateLimitedError(0.5).retry_after == 0.5
