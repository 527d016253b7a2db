/* words.js — numbers with units, and the connection pill every page has. */

function scaled(value, base, units) {
  let i = 0;
  while (value >= base * 0.9995 && i < units.length - 1) {
    value /= base;
    i++;
  }
  const digits = i === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return [value.toFixed(digits), units[i]];
}

/* Memory counts in powers of two, lines in powers of ten, as usual. */
export const size = (bytes) => scaled(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
export const speed = (bytes) => scaled(bytes, 1000, ["B/s", "kB/s", "MB/s", "GB/s"]);

export function duration(seconds) {
  const d = Math.floor(seconds / 86400);
  const h = Math.floor(seconds / 3600) % 24;
  const m = Math.floor(seconds / 60) % 60;
  if (d)
    return d + " d " + h + " h";
  return h ? h + " h " + m + " min" : m + " min";
}

/* How old something is, from milliseconds. */
export function age(ms) {
  if (ms < 9950)
    return (ms / 1000).toFixed(1) + " s";
  return ms < 119500 ? Math.round(ms / 1000) + " s" : duration(ms / 1000);
}

export function showState(pill, state, words) {
  pill.dataset.state = state;
  if (pill.textContent !== words)
    pill.textContent = words;
}
