// Numbers and names as people read them; the units are those of the report.

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) [count, unit] = [count / 1024, unit + 1];
  return `${unit && count < 100 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

export function micros(time) {
  const [size, unit] = time >= 1e6 ? [1e6, "s"] : time >= 1e3 ? [1e3, "ms"] : [1, "\u00b5s"];
  return `${short(time / size)} ${unit}`;
}

export const seconds = (time) => micros(time * 1e6);
export function percent(part) {
  if (part >= 0.1 || part === 0) return `${Math.round(100 * part)}%`;
  return part < 0.001 ? "<0.1%" : `${(100 * part).toFixed(1)}%`;
}

export function count(number) {
  for (const [unit, size] of [["E", 1e18], ["P", 1e15], ["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (number >= size) return `${short(number / size)} ${unit}`;
  }
  return String(number);
}

const short = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

export const plural = (number, noun) => `${number} ${noun}${number === 1 ? "" : /[hs]$/.test(noun) ? "es" : "s"}`;

// `/home/me/model.py:12` as `model.py:12`.
export const shortPlace = (where) => where.slice(where.lastIndexOf("/") + 1);

// The file and the line of a place, if it is one.
export function placeOf(where) {
  const match = /^(.*):(\d+)$/.exec(where ?? "");
  return match ? { file: match[1], line: Number(match[2]) } : null;
}
