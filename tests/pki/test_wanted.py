"""What can be said of a certificate that is asked for, before it is compared with others."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509

from pki import profiles
from pki.errors import ProfileError
from pki.models import Certificate
from pki.profiles import Profile
from pki.wanted import Wanted, certified_key, narrowed, refuse_misfits
from tests.certs import make_csr, make_key

DAY = dt.timedelta(days=1)
NAMES = x509.NameConstraints([x509.DNSName("example.org")], None)


@pytest.mark.parametrize(
    ("kind", "wanted", "signs_itself", "sentence"),
    [
        (profiles.PERSON, Wanted("person"), True, "A root signs itself"),
        (profiles.ROOT, Wanted("root"), False, "A root signs itself"),
        (profiles.PERSON, Wanted("person", name_constraints=NAMES), False, "are for CAs"),
        (profiles.PERSON, Wanted("person", renews=Certificate()), False, "Only a CA is renewed"),
    ],
)
def test_misfits_are_refused(
    kind: Profile, wanted: Wanted, signs_itself: bool, sentence: str
) -> None:
    with pytest.raises(ProfileError, match=sentence):
        refuse_misfits(kind, wanted, signs_itself=signs_itself)


def test_fits() -> None:
    refuse_misfits(profiles.PERSON, Wanted("person"), signs_itself=False)
    wanted = Wanted("root", name_constraints=NAMES, renews=Certificate())
    refuse_misfits(profiles.ROOT, wanted, signs_itself=True)


def test_a_profile_is_narrowed_and_never_widened() -> None:
    kind = narrowed(profiles.INTERMEDIATE, Wanted("x", path_length=0, validity=3 * DAY))
    assert (kind.path_length, kind.validity) == (0, 3 * DAY)
    assert narrowed(profiles.PERSON, Wanted("person")) == profiles.PERSON
    with pytest.raises(ProfileError, match="and no more than that"):
        narrowed(profiles.PERSON, Wanted("person", validity=profiles.PERSON.validity + DAY))


def test_exactly_one_key_is_given() -> None:
    public, csr = make_key().public_key(), make_csr("x")
    assert certified_key(Wanted("person", public_key=public)) == public
    assert certified_key(Wanted("person", csr=csr)) == csr.public_key()
    for wanted in (Wanted("person"), Wanted("person", public_key=public, csr=csr)):
        with pytest.raises(ProfileError, match="Give one key"):
            certified_key(wanted)
