/** The private key: made, used and exported by WebCrypto; nothing here computes with it itself. */

import { identifier, integer, sequence } from "./der.js";

const CURVE = { name: "ECDSA", namedCurve: "P-256" };
const SIGNING = { name: "ECDSA", hash: "SHA-256" };

/** Whether this browser makes keys: WebCrypto is there on secure pages alone. */
export const isAble = () => isSecureContext && Boolean(globalThis.crypto?.subtle);

/** A P-256 key pair. It may be exported, or it could not go into a file. */
export const makeKey = () => crypto.subtle.generateKey(CURVE, true, ["sign"]);

/** SubjectPublicKeyInfo, DER. */
export const publicBytes = async ({ publicKey }) =>
  new Uint8Array(await crypto.subtle.exportKey("spki", publicKey));

/** PrivateKeyInfo (PKCS #8), DER. Whoever calls this holds the secret. */
export const privateBytes = async ({ privateKey }) =>
  new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey));

/** AlgorithmIdentifier of what `sign` makes: ecdsa-with-SHA256, without parameters (RFC 5758). */
export const signatureAlgorithm = () => sequence(identifier("1.2.840.10045.4.3.2"));

/** ECDSA-Sig-Value of the bytes; WebCrypto answers r and s side by side, X.509 wants a SEQUENCE. */
export async function sign({ privateKey }, bytes) {
  const raw = new Uint8Array(await crypto.subtle.sign(SIGNING, privateKey, bytes));
  const half = raw.length / 2;
  return sequence(integer(raw.slice(0, half)), integer(raw.slice(half)));
}
