"""What the PKI announces, after the transaction has been committed.

A signal stays in its process. Other processes learn of the same change from the trust version
in the database (`pki.changes`), so a receiver must treat a signal as speed, not as certainty.

certificate_issued   sender=None, certificate_id: int, sha256: str
certificate_revoked  sender=None, certificate_id: int, sha256: str, reason: str
certificate_released sender=None, certificate_id: int, sha256: str; a hold has ended
trust_changed        sender=None; some CA, account, anchor, CRL (so also some revocation) or endpoint
                     changed. A new certificate of a person or server changes nobody's trust.
"""

from django.dispatch import Signal

certificate_issued = Signal()
certificate_revoked = Signal()
certificate_released = Signal()
trust_changed = Signal()
