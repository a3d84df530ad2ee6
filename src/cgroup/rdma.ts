/** The rdma controller, whose files are the same in both versions of cgroups. */

import type { StatDirectory } from "./stat-directory.ts";

const CURRENT_FILE = "rdma.current";
const MAX_FILE = "rdma.max";
const MAX_UINT32 = 0xffff_ffff;

export interface RdmaEntry {
  readonly device: string;
  readonly hcaHandles: number;
  /** 4294967295 stands for no limit. */
  readonly hcaObjects: number;
}

export interface RdmaStat {
  readonly current: RdmaEntry[];
  readonly limit: RdmaEntry[];
}

/** Use and limits by device; undefined without the controller. */
export function readRdma(directory: StatDirectory): RdmaStat | undefined {
  const current = directory.read(CURRENT_FILE);
  if (current === undefined) return undefined;
  return { current: parseRdma(current), limit: parseRdma(directory.read(MAX_FILE) ?? "") };
}

/** Lines of `device hca_handle=N hca_object=N`, N a number or `max`; others are skipped. */
export function parseRdma(text: string): RdmaEntry[] {
  return text.split("\n").flatMap((line) => {
    const [device, ...pairs] = line.split(" ").filter((word) => word !== "");
    if (device === undefined || pairs.length !== 2) return [];
    const values = new Map(pairs.map((pair) => splitPair(pair)));
    return [
      {
        device,
        hcaHandles: values.get("hca_handle") ?? 0,
        hcaObjects: values.get("hca_object") ?? 0,
      },
    ];
  });
}

function splitPair(pair: string): [string, number] {
  const equals = pair.indexOf("=");
  const text = pair.slice(equals + 1);
  const value = text === "max" ? MAX_UINT32 : Number(text);
  const isValid = Number.isInteger(value) && value >= 0 && value <= MAX_UINT32;
  return [pair.slice(0, Math.max(equals, 0)), isValid ? value : 0];
}
