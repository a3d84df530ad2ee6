/** The containers of this host with their shims, as rows: the basis of `ps`, `top` and `metrics`. */

import type { BundleFacts } from "./bundle-facts.ts";
import { type ContainerState, readContainerState } from "./container-status.ts";
import { readMemory } from "./process-memory.ts";
import type { Host, HostShim } from "./shims.ts";
import { listTargets } from "./target.ts";

/** One container and its shim; a shim without a container stands for itself. */
export interface Row {
  readonly namespace: string;
  readonly id: string;
  readonly shim: HostShim;
  readonly bundle: BundleFacts | undefined;
  readonly state: ContainerState | undefined;
}

/** All rows, oldest shim first. */
export function survey(host: Host): readonly Row[] {
  return listTargets(host).map((target) => ({
    ...target,
    state:
      target.bundle === undefined
        ? undefined
        : readContainerState(host, target.shim, target.bundle),
  }));
}

/** The PSS of each shim in bytes, by pid; shims of pods have several rows and are read once. */
export function readShimMemory(rows: readonly Row[]): ReadonlyMap<number, number | undefined> {
  const pids = new Set(rows.map(({ shim }) => shim.process.pid));
  return new Map([...pids].map((pid) => [pid, readMemory(pid)?.pss]));
}
