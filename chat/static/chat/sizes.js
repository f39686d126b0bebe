/** How large a file is, in words. */

const UNITS = ["KB", "MB", "GB", "TB"]; // of 1024, as everywhere in Signet and in most file managers

/** 1 → "1 byte", 5530 → "5.4 KB", 25 × 1024² → "25 MB" */
export function sizeWords(bytes) {
  if (bytes < 1024) return bytes === 1 ? "1 byte" : `${bytes} bytes`;
  let size = bytes / 1024;
  let unit = 0;
  for (; size >= 1023.95 && unit < UNITS.length - 1; unit += 1) size /= 1024;
  return `${Number(size.toFixed(1))} ${UNITS[unit]}`;
}
