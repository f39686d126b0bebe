/** DER (X.690): bytes out of values. Only what a certification request and a PKCS #12 file need. */

const SEQUENCE = 0x30;
const SET = 0x31;

export const sequence = (...parts) => wrapped(SEQUENCE, parts);
export const octets = (bytes) => wrapped(0x04, [bytes]);
export const bits = (bytes) => wrapped(0x03, [Uint8Array.of(0), bytes]); // no unused bits
export const nothing = () => Uint8Array.of(0x05, 0);
export const utf8 = (text) => wrapped(0x0c, [new TextEncoder().encode(text)]);
export const bmp = (text) => wrapped(0x1e, [utf16(text)]);
/** [number], constructed; also an IMPLICIT tag around what is constructed itself. */
export const tagged = (number, ...parts) => wrapped(0xa0 | number, parts);
/** [number] IMPLICIT in place of the tag of a primitive value. */
export const retagged = (number, bytes) => wrapped(0x80 | number, [bytes]);

/** SET OF: its members stand in the order of their bytes (X.690, 11.6). */
export const set = (...parts) => wrapped(SET, [...parts].sort(byBytes));

/** INTEGER from a small number, or from the bytes of a big positive one. */
export function integer(value) {
  const bytes = typeof value === "number" ? bytesOf(value) : value;
  const first = bytes.findIndex((byte) => byte !== 0);
  const short = first < 0 ? Uint8Array.of(0) : bytes.slice(first);
  return wrapped(0x02, short[0] & 0x80 ? [Uint8Array.of(0), short] : [short]);
}

/** OBJECT IDENTIFIER from dotted numbers. */
export function identifier(dotted) {
  const [first, second, ...others] = dotted.split(".").map(Number);
  return wrapped(0x06, [Uint8Array.from([first * 40 + second, ...others].flatMap(base128))]);
}

export function concatenated(parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Big-endian UTF-16, as BMPString and the passwords of PKCS #12 are written. */
export function utf16(text) {
  const bytes = new Uint8Array(text.length * 2);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < text.length; at += 1) view.setUint16(at * 2, text.charCodeAt(at));
  return bytes;
}

export function toPem(label, bytes) {
  const base64 = btoa(String.fromCharCode(...bytes));
  const lines = base64.match(/.{1,64}/g).join("\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

export function fromPem(pem) {
  const body = pem.replace(/-----[A-Z ]+-----/g, "").replace(/\s/g, "");
  return Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
}

function wrapped(tag, parts) {
  const content = concatenated(parts);
  return concatenated([Uint8Array.of(tag, ...lengthOf(content.length)), content]);
}

function lengthOf(length) {
  if (length < 0x80) return [length];
  const bytes = bytesOf(length);
  return [0x80 | bytes.length, ...bytes];
}

function bytesOf(number) {
  const bytes = [];
  for (let rest = number; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Uint8Array.from(bytes.length ? bytes : [0]);
}

function base128(number) {
  const groups = [number % 128];
  for (let rest = Math.floor(number / 128); rest > 0; rest = Math.floor(rest / 128)) {
    groups.unshift(0x80 | (rest % 128));
  }
  return groups;
}

function byBytes(one, other) {
  const at = one.findIndex((byte, index) => byte !== other[index]);
  return at < 0 ? one.length - other.length : one[at] - (other[at] ?? -1);
}
