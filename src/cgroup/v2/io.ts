/** Block devices on cgroup v2. */

import type { StatDirectory } from "../stat-directory.ts";
import { parseUint64 } from "../stat-file.ts";
import { type PressureStats, readPressure } from "./pressure.ts";

const STAT_FILE = "io.stat";
const PRESSURE_FILE = "io.pressure";

/** Bytes and numbers of requests. */
export interface IoEntry {
  readonly major: bigint;
  readonly minor: bigint;
  readonly rbytes: bigint;
  readonly wbytes: bigint;
  readonly rios: bigint;
  readonly wios: bigint;
}

export interface IoStat {
  readonly usage: IoEntry[];
  readonly psi: PressureStats | undefined;
}

/** Undefined without the controller and without pressure information. */
export function readIo(directory: StatDirectory): IoStat | undefined {
  const text = directory.read(STAT_FILE);
  const psi = readPressure(directory, PRESSURE_FILE);
  if (text === undefined && psi === undefined) return undefined;
  return { usage: parseIo(text ?? ""), psi };
}

/** Lines of `major:minor key=value …`; a device without figures, and what is not a device, is skipped. */
export function parseIo(text: string): IoEntry[] {
  return text.split("\n").flatMap((line) => {
    const [number, ...pairs] = line.split(" ");
    const [major, minor] = number?.split(":") ?? [];
    if (major === undefined || minor === undefined || pairs.length === 0) return [];
    const values = new Map<string, bigint>();
    for (const pair of pairs) {
      const equals = pair.indexOf("=");
      if (equals > 0) values.set(pair.slice(0, equals), parseUint64(pair.slice(equals + 1)));
    }
    return [
      {
        major: parseUint64(major),
        minor: parseUint64(minor),
        rbytes: values.get("rbytes") ?? 0n,
        wbytes: values.get("wbytes") ?? 0n,
        rios: values.get("rios") ?? 0n,
        wios: values.get("wios") ?? 0n,
      },
    ];
  });
}
