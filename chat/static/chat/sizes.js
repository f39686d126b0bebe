/** How large a file is, in words. */

const UNITS = ["kB", "MB", "GB", "TB"];

/** 1 → "1 byte", 5400 → "5.4 kB", 25_000_000 → "25 MB" */
export function sizeWords(bytes) {
  if (bytes < 1000) return bytes === 1 ? "1 byte" : `${bytes} bytes`;
  let size = bytes / 1000;
  let unit = 0;
  for (; size >= 999.95 && unit < UNITS.length - 1; unit += 1) size /= 1000;
  return `${Number(size.toFixed(1))} ${UNITS[unit]}`;
}
