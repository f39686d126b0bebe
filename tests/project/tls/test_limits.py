from project.tls.limits import Limits


def test_limits_follow_the_settings(settings):
    assert Limits.from_settings() == Limits()  # what docs/attacks.md promises
    settings.SIGNET_HEAD_SECONDS, settings.SIGNET_BODY_SECONDS = 1, 2
    settings.SIGNET_BODY_BYTES, settings.SIGNET_IDLE_SECONDS = 3, 4
    assert Limits.from_settings() == Limits(1, 2, 3, 4)
