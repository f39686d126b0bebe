/**
 * PKCS #12 (RFC 7292): a private key and its certificates in one locked file.
 *
 * Locked as today's importers want it: PBES2 with AES-256-CBC, PBKDF2 and HMAC-SHA-256. All of the
 * cryptography is WebCrypto's; here is only how it is packed.
 *
 * How hard the lock is to pick depends on the password, and that is made for the file: 78 random
 * bits (../password.js). A guesser works on the MAC, whose rounds WebCrypto cannot do by itself:
 * each is a call, and 100,000 of them take seconds. 10,000 is what Java does, and five times what
 * OpenSSL does. More rounds elsewhere would only make importing slow, or impossible: importers
 * have limits.
 */

import {
  bmp, concatenated, fromPem, identifier, integer, nothing, octets, retagged, sequence, set,
  tagged, utf16,
} from "./der.js";
import { privateBytes, publicBytes } from "./key.js";

const KDF_ROUNDS = 100_000;
const MAC_ROUNDS = 10_000;
const SALT_LENGTH = 8; // macOS has refused 16 in the MAC

const DATA = identifier("1.2.840.113549.1.7.1");
const ENCRYPTED_DATA = identifier("1.2.840.113549.1.7.6");
const SHROUDED_KEY_BAG = identifier("1.2.840.113549.1.12.10.1.2");
const CERTIFICATE_BAG = identifier("1.2.840.113549.1.12.10.1.3");
const X509_CERTIFICATE = identifier("1.2.840.113549.1.9.22.1");
const FRIENDLY_NAME = identifier("1.2.840.113549.1.9.20");
const LOCAL_KEY_ID = identifier("1.2.840.113549.1.9.21");
const PBES2 = identifier("1.2.840.113549.1.5.13");
const PBKDF2 = identifier("1.2.840.113549.1.5.12");
const HMAC_SHA256 = identifier("1.2.840.113549.2.9");
const AES256_CBC = identifier("2.16.840.1.101.3.4.1.42");
const SHA256 = identifier("2.16.840.1.101.3.4.2.1");

/**
 * The file's bytes.
 *
 * @param {CryptoKeyPair} key
 * @param {string[]} certificates  PEM; first the key's own, then its CAs
 * @param {string} name            what importers call the entry
 * @throws {Error} when the first certificate is not for this key
 */
export async function pack({ key, certificates, password, name }) {
  const [own, ...authorities] = certificates.map(fromPem);
  await requireCertificateOf(key, own);
  const attributes = set(
    sequence(FRIENDLY_NAME, set(bmp(name))),
    sequence(LOCAL_KEY_ID, set(octets(await digest(own)))),
  );
  const bags = [certificateBag(own, attributes), ...authorities.map((each) => certificateBag(each))];
  const [lockedCertificates, lockedKey] = await Promise.all([
    lock(sequence(...bags), password),
    lock(await privateBytes(key), password),
  ]);
  const keyBag = bag(SHROUDED_KEY_BAG, sequence(lockedKey.algorithm, octets(lockedKey.content)), attributes);
  const safes = sequence(encryptedInfo(lockedCertificates), dataInfo(sequence(keyBag)));
  return sequence(integer(3), dataInfo(safes), await macData(safes, password));
}

const dataInfo = (content) => sequence(DATA, tagged(0, octets(content)));

const bag = (kind, content, attributes) =>
  sequence(kind, tagged(0, content), ...(attributes ? [attributes] : []));

const certificateBag = (der, attributes) =>
  bag(CERTIFICATE_BAG, sequence(X509_CERTIFICATE, tagged(0, octets(der))), attributes);

function encryptedInfo({ algorithm, content }) {
  const info = sequence(DATA, algorithm, retagged(0, content));
  return sequence(ENCRYPTED_DATA, tagged(0, sequence(integer(0), info)));
}

/** Encrypt with a key derived from the password (RFC 8018, 6.2). */
async function lock(bytes, password) {
  const salt = random(SALT_LENGTH);
  const iv = random(16);
  const secret = new TextEncoder().encode(password);
  const source = await crypto.subtle.importKey("raw", secret, "PBKDF2", false, ["deriveKey"]);
  const derived = await crypto.subtle.deriveKey(
    { name: "PBKDF2", hash: "SHA-256", salt, iterations: KDF_ROUNDS },
    source,
    { name: "AES-CBC", length: 256 },
    false,
    ["encrypt"],
  );
  const content = await crypto.subtle.encrypt({ name: "AES-CBC", iv }, derived, bytes);
  return { algorithm: pbes2(salt, iv), content: new Uint8Array(content) };
}

function pbes2(salt, iv) {
  const prf = sequence(HMAC_SHA256, nothing());
  const derivation = sequence(PBKDF2, sequence(octets(salt), integer(KDF_ROUNDS), prf));
  return sequence(PBES2, sequence(derivation, sequence(AES256_CBC, octets(iv))));
}

async function macData(content, password) {
  const salt = random(SALT_LENGTH);
  const secret = await macKey(password, salt);
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", secret, hmac, false, ["sign"]);
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", key, content));
  const info = sequence(sequence(SHA256, nothing()), octets(mac));
  return sequence(info, octets(salt), integer(MAC_ROUNDS));
}

/**
 * The MAC's key (RFC 7292, B.2, with ID 3): one block of SHA-256 is as long as the key, so the
 * second half of the construction never happens.
 */
async function macKey(password, salt) {
  const diversifier = new Uint8Array(64).fill(3);
  let block = concatenated([
    diversifier,
    filled(salt),
    filled(utf16(`${password}\0`)),
  ]);
  for (let round = 0; round < MAC_ROUNDS; round += 1) block = await digest(block);
  return block;
}

/** Repeated up to a whole number of SHA-256's blocks. */
function filled(bytes) {
  const length = Math.ceil(bytes.length / 64) * 64;
  return Uint8Array.from({ length }, (_, at) => bytes[at % bytes.length]);
}

/** A certificate carries its public key as the same bytes that WebCrypto exports. */
async function requireCertificateOf(key, der) {
  const wanted = await publicBytes(key);
  for (let at = 0; at + wanted.length <= der.length; at += 1) {
    if (wanted.every((byte, index) => der[at + index] === byte)) return;
  }
  throw new Error("The certificate that came back is not for the key of this browser.");
}

const random = (length) => crypto.getRandomValues(new Uint8Array(length));
const digest = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
