/** Quantities as people read them. Values are exact in JSON; here they are short. */

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const BYTES_PER_UNIT = 1024;
const THREE_DIGITS = 100;
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** "812 B", "3.4 MiB", "120 MiB"; "-" for what is not known. */
export function formatBytes(bytes: number | undefined): string {
  if (bytes === undefined) return "-";
  let value = bytes;
  let unit = 0;
  while (value >= BYTES_PER_UNIT && unit < BYTE_UNITS.length - 1) {
    value /= BYTES_PER_UNIT;
    unit++;
  }
  const digits = unit === 0 || value >= THREE_DIGITS ? 0 : 1;
  return `${value.toFixed(digits)} ${BYTE_UNITS[unit]}`;
}

/** Two units at most: "340ms", "4.2s", "3m10s", "5h2m", "12d4h"; "-" for what is not known. */
export function formatDuration(ms: number | undefined): string {
  if (ms === undefined) return "-";
  if (ms < SECOND_MS) return `${Math.max(0, Math.round(ms))}ms`;
  if (ms < 10 * SECOND_MS) return `${(ms / SECOND_MS).toFixed(1)}s`;
  if (ms < MINUTE_MS) return `${Math.floor(ms / SECOND_MS)}s`;
  if (ms < HOUR_MS) return pair(ms, MINUTE_MS, "m", SECOND_MS, "s");
  if (ms < DAY_MS) return pair(ms, HOUR_MS, "h", MINUTE_MS, "m");
  return pair(ms, DAY_MS, "d", HOUR_MS, "h");
}

/** "0.0%", "12.5%", "140%"; "-" for what is not known. */
export function formatPercent(fraction: number | undefined): string {
  if (fraction === undefined) return "-";
  const percent = fraction * 100;
  return `${percent.toFixed(percent >= THREE_DIGITS ? 0 : 1)}%`;
}

function pair(ms: number, largeMs: number, large: string, smallMs: number, small: string): string {
  const rest = Math.floor((ms % largeMs) / smallMs);
  return `${Math.floor(ms / largeMs)}${large}${rest > 0 ? `${rest}${small}` : ""}`;
}
