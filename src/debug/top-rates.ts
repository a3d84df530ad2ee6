/** Two looks at a host, and what was used between them. Pure but for {@link look}. */

import { type Figures, readFigures } from "./host/figures.ts";
import { readMemory } from "./host/process-memory.ts";
import { findShims } from "./host/shims.ts";
import { survey } from "./host/survey.ts";

const MS_PER_SECOND = 1000;

/** A container and its shim at one moment. */
export interface Looked {
  readonly namespace: string;
  readonly id: string;
  readonly status: string;
  readonly shimPid: number;
  readonly shimCpuMs: number;
  readonly shimPssBytes: number | undefined;
  readonly figures: Figures | undefined;
}

export interface Look {
  readonly atMs: number;
  readonly rows: readonly Looked[];
}

/** What one container and its shim use. CPU is in cores, I/O in bytes a second. */
export interface Usage {
  readonly namespace: string;
  readonly id: string;
  readonly status: string;
  readonly cpu: number | undefined;
  readonly memoryBytes: number | undefined;
  readonly pids: number | undefined;
  readonly readRate: number | undefined;
  readonly writeRate: number | undefined;
  readonly shimPid: number;
  readonly shimCpu: number | undefined;
  readonly shimPssBytes: number | undefined;
}

export type SortKey = "cpu" | "memory" | "pids" | "io";

/** Looks at the host now; only at `namespace` when one is given. */
export function look(namespace: string | undefined): Look {
  const rows = survey(findShims())
    .filter((row) => namespace === undefined || row.namespace === namespace)
    .map(({ namespace: own, id, shim, state }) => ({
      namespace: own,
      id,
      status: state?.status ?? "empty",
      shimPid: shim.process.pid,
      shimCpuMs: shim.process.cpuMs,
      shimPssBytes: readMemory(shim.process.pid)?.pss,
      figures: readFigures(state?.cgroup),
    }));
  return { atMs: performance.now(), rows };
}

/** What was used from `before` to `after`, the largest first. What is new has no rates yet. */
export function usageBetween(before: Look, after: Look, sort: SortKey): readonly Usage[] {
  const elapsedMs = after.atMs - before.atMs;
  const known = new Map(before.rows.map((row) => [keyOf(row), row]));
  return after.rows
    .map((row) => {
      const old = known.get(keyOf(row));
      const grown = (tell: (figures: Figures) => number | undefined) => {
        const [from, to] = [old?.figures, row.figures].map((figures) => figures && tell(figures));
        return from === undefined || to === undefined ? undefined : Math.max(0, to - from);
      };
      const perSecond = (bytes: number | undefined) =>
        bytes === undefined ? undefined : (bytes * MS_PER_SECOND) / elapsedMs;
      const cpuMs = grown((figures) => figures.cpuMs);
      return {
        namespace: row.namespace,
        id: row.id,
        status: row.status,
        cpu: cpuMs === undefined ? undefined : cpuMs / elapsedMs,
        memoryBytes: row.figures?.workingSetBytes,
        pids: row.figures?.pids,
        readRate: perSecond(grown((figures) => figures.readBytes)),
        writeRate: perSecond(grown((figures) => figures.writtenBytes)),
        shimPid: row.shimPid,
        shimCpu: old && Math.max(0, row.shimCpuMs - old.shimCpuMs) / elapsedMs,
        shimPssBytes: row.shimPssBytes,
      };
    })
    .sort((a, b) => rank(b, sort) - rank(a, sort));
}

function rank(usage: Usage, sort: SortKey): number {
  switch (sort) {
    case "cpu":
      return usage.cpu ?? -1;
    case "memory":
      return usage.memoryBytes ?? -1;
    case "pids":
      return usage.pids ?? -1;
    case "io":
      return (usage.readRate ?? 0) + (usage.writeRate ?? 0);
  }
}

/** The same id may have another shim by now, whose figures start over. */
function keyOf({ namespace, id, shimPid }: Looked): string {
  return `${namespace}/${id}/${shimPid}`;
}
