"""Other people's rules: what pkilint says about a certificate, a CRL and an OCSP response.

Each function takes DER and returns the codes of the errors found, none for a clean one. pkilint
asks each of its validators at every node of a document whether it cares; here the walk remembers
which of them can care at all about a kind of node in a place, and what extensions, names and other
parts were decoded to. The validators that run, and their order, stay the same (tests compare both
walks).
"""

from __future__ import annotations

from copy import copy
from functools import cache
from typing import Any

from pkilint import pkix
from pkilint.document import NodeVisitor, ValueDecoder, create_and_append_node_from_pdu
from pkilint.loader import (
    DocumentLoader,
    RFC5280CertificateListDocumentLoader,
    RFC6960OCSPResponseDocumentLoader,
)
from pkilint.pkix import certificate, crl, extension, name, ocsp
from pkilint.validation import (
    DecodingValidator,
    ValidationFindingSeverity,
    ValidatorContainer,
)

from pki.certificate_parts import PartwiseCertificate

# The validators of these want a public top-level domain, so they refuse localhost and every internal
# host. They are left out; alternative_names and revocation_pointers (`pki.lint`) look instead.
NOT_FOR_INTERNAL_HOSTS = {
    "pkix.invalid_uri_syntax",
    "pkix.invalid_domain_name_syntax",
    "pkix.invalid_email_address_syntax",
}
MOST_PARTS, LONGEST_PART = 2_000, 512  # decoded parts that are remembered, for each decoder
MOST_PLACES = 20_000  # kinds of node in a place that are remembered; a bound on memory, not on work


def certificate_findings(der: bytes) -> list[str]:
    """What RFC 5280 forbids in this certificate."""
    return _findings(der, DocumentLoader(PartwiseCertificate, "CERTIFICATE"), _certificate_rules())


def crl_findings(der: bytes) -> list[str]:
    """What RFC 5280 forbids in this CRL. It takes about 0.3 ms an entry."""
    return _findings(der, RFC5280CertificateListDocumentLoader(), _crl_rules())


def ocsp_findings(der: bytes) -> list[str]:
    """What RFC 6960 forbids in this OCSP response."""
    return _findings(der, RFC6960OCSPResponseDocumentLoader(), _ocsp_rules())


def _findings(der: bytes, loader: Any, rules: ValidatorContainer) -> list[str]:
    try:
        document = loader.load_der_document(der)
    except ValueError as error:
        return [f"cannot be decoded: {error}"]
    found: list[str] = [
        description.finding.code
        for result in rules.validate(document.root)
        for description in result.finding_descriptions
        if description.finding.severity <= ValidationFindingSeverity.ERROR
    ]
    _take_apart(document)
    return list(dict.fromkeys(found))


def _take_apart(document: Any) -> None:
    """Nodes and documents refer to each other. Undone, they go at once; else they wait for the
    garbage collector, which took a tenth of the time of issuing many."""
    waiting, document.root = [document.root], None
    while waiting:
        children = waiting.pop().children
        waiting.extend(children.values())
        children.clear()


@cache
def _certificate_rules() -> ValidatorContainer:
    return _indexed(
        certificate.create_pkix_certificate_validator_container(
            certificate.create_decoding_validators(
                name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
            ),
            [
                certificate.create_issuer_validator_container([]),
                certificate.create_validity_validator_container(),
                certificate.create_subject_validator_container([]),
                certificate.create_extensions_validator_container([]),
                certificate.create_spki_validator_container([]),
            ],
        )
    )


@cache
def _crl_rules() -> ValidatorContainer:
    return _indexed(
        crl.create_pkix_crl_validator_container(
            _decoders(),
            [
                crl.create_issuer_validator_container([]),
                crl.create_validity_validator_container([]),
                crl.create_extensions_validator_container([]),
            ],
        )
    )


@cache
def _ocsp_rules() -> ValidatorContainer:
    return _indexed(
        ocsp.create_pkix_ocsp_response_validator_container(
            [ocsp.create_response_decoder(), *_decoders()], []
        )
    )


def _decoders() -> list[Any]:
    return [
        pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
    ]


# --- The walk -------------------------------------------------------------------------------


class IndexedContainer(ValidatorContainer):
    """A container that asks, at each node, only those validators whose path and type fit it."""

    def _validate_rec(self, node: Any, results: list[Any]) -> None:
        waiting = [node]  # a node, then what is below it, then what is beside it
        while waiting:
            node = waiting.pop()
            place = node.path, type(node.pdu)
            if (known := self.places.get(place)) is None:
                known = self._who_may_care(place)
            for validator in known:
                if validator.match(node):
                    result = validator.validate_wrapper(node)
                    if isinstance(result, list):
                        results += result
                    else:
                        results.append(result)
            if node.children:
                waiting.extend(reversed(node.children.values()))

    def _who_may_care(self, place: tuple[str, type]) -> list[Any]:
        found = [one for one in self.validators if _may_care(one, *place)]
        if len(self.places) < MOST_PLACES:
            self.places[place] = found
        return found


def _may_care(validator: NodeVisitor, path: str, kind: type) -> bool:
    """False only where `NodeVisitor.match` is bound to say no to every such node."""
    if validator._path is not None and validator._path != path:
        return False
    if validator._path_re is not None and validator._path_re.match(path) is None:
        return False
    return validator._pdu_class is None or issubclass(kind, validator._pdu_class)


def _is_left_out(validator: Any) -> bool:
    errors = {
        finding.code
        for finding in validator.validations
        if finding.severity <= ValidationFindingSeverity.ERROR
    }
    return bool(errors) and errors <= NOT_FOR_INTERNAL_HOSTS | {"base.unhandled_exception"}


def _indexed(container: Any) -> Any:
    """The same container, and those in it, with the walk of ours and decoders that remember."""
    if isinstance(container, DecodingValidator):
        return _remembering(container)
    if not isinstance(container, ValidatorContainer):
        return container
    made = IndexedContainer.__new__(IndexedContainer)
    made.__dict__ = {
        **container.__dict__,
        "validators": [_indexed(one) for one in container.validators if not _is_left_out(one)],
        "places": {},
    }
    return made


# --- Parts that come again ------------------------------------------------------------------


def _remembering(validator: DecodingValidator) -> DecodingValidator:
    """The same validator; what it decodes is looked up where the same bytes were decoded before.

    Most extensions and names of a CA's certificates are byte for byte those of the last one. A
    decoded value is not changed by anybody, so documents may share it. Only plain decoders are
    replaced: the others decide by themselves what to decode.
    """
    decoder = validator.decode_func
    if type(decoder) is not ValueDecoder:
        return validator
    made, own = copy(validator), RememberingDecoder.__new__(RememberingDecoder)
    own.__dict__ = {**decoder.__dict__, "known": {}}
    made.decode_func = own
    return made


class RememberingDecoder(ValueDecoder):
    def decode_value(self, node: Any, type_node: Any, value_node: Any, pdu_type: Any) -> Any:
        substrate = bytes(self.retrieve_substrate(value_node))
        if value_node.children or len(substrate) > LONGEST_PART:
            return super().decode_value(node, type_node, value_node, pdu_type)
        place = (substrate, id(pdu_type))  # types are those of `type_mappings`, and stay alive
        if (known := self.known.get(place)) is not None:
            return create_and_append_node_from_pdu(value_node.document, known, value_node)
        made = super().decode_value(node, type_node, value_node, pdu_type)
        if len(self.known) >= MOST_PARTS:  # mostly key identifiers, which never come again
            self.known.clear()
        self.known[place] = made.pdu
        return made
