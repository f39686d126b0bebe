/** The certification request (PKCS #10, RFC 2986): the public key, signed with the private one. */

import { bits, identifier, integer, sequence, set, tagged, toPem, utf8 } from "./der.js";
import { publicBytes, sign, signatureAlgorithm } from "./key.js";

const COMMON_NAME = "2.5.4.3";

/** PEM. The CA decides what a certificate says, so the request asks for no extension. */
export async function makeRequest(key, { commonName }) {
  const info = sequence(integer(0), name(commonName), await publicBytes(key), tagged(0));
  const signature = await sign(key, info);
  return toPem("CERTIFICATE REQUEST", sequence(info, signatureAlgorithm(), bits(signature)));
}

function name(commonName) {
  if (!commonName) return sequence();
  return sequence(set(sequence(identifier(COMMON_NAME), utf8(commonName))));
}
