/** Passwords of files made in the browser, of the same form as those of `pki/handout.py`. */

// Without 0, 1, i, l, o, u: what is read aloud or typed from another screen stays unambiguous.
export const ALPHABET = "23456789abcdefghjkmnpqrstvwxyz";
const GROUPS = 4;
const GROUP = 4; // 16 letters of 30: 78 bits

export function makePassword() {
  const group = () => Array.from({ length: GROUP }, letter).join("");
  return Array.from({ length: GROUPS }, group).join("-");
}

/** Every letter as likely as any other: bytes beyond the last whole alphabet are thrown away. */
function letter() {
  const limit = 256 - (256 % ALPHABET.length);
  for (;;) {
    const [byte] = crypto.getRandomValues(new Uint8Array(1));
    if (byte < limit) return ALPHABET[byte % ALPHABET.length];
  }
}
