/** The memory controller of cgroup v2. */

import type { StatDirectory } from "../stat-directory.ts";
import { MAX_UINT64, parseCounters, readCounters, readLimit } from "../stat-file.ts";
import { type PressureStats, readPressure } from "./pressure.ts";

const STAT_FILE = "memory.stat";
const CURRENT_FILE = "memory.current";
const MAX_FILE = "memory.max";
const PEAK_FILE = "memory.peak";
const SWAP_CURRENT_FILE = "memory.swap.current";
const SWAP_MAX_FILE = "memory.swap.max";
const SWAP_PEAK_FILE = "memory.swap.peak";
const PRESSURE_FILE = "memory.pressure";
/** What has happened in this cgroup and below it since it was created. */
export const MEMORY_EVENTS_FILE = "memory.events";

/** Bytes, except that `pgfault` to `thpCollapseAlloc` are counts. The largest 64-bit number is no limit. */
export interface MemoryStat {
  readonly anon: bigint;
  readonly file: bigint;
  readonly kernelStack: bigint;
  readonly slab: bigint;
  readonly sock: bigint;
  readonly shmem: bigint;
  readonly fileMapped: bigint;
  readonly fileDirty: bigint;
  readonly fileWriteback: bigint;
  readonly anonThp: bigint;
  readonly inactiveAnon: bigint;
  readonly activeAnon: bigint;
  readonly inactiveFile: bigint;
  readonly activeFile: bigint;
  readonly unevictable: bigint;
  readonly slabReclaimable: bigint;
  readonly slabUnreclaimable: bigint;
  readonly pgfault: bigint;
  readonly pgmajfault: bigint;
  readonly workingsetRefault: bigint;
  readonly workingsetActivate: bigint;
  readonly workingsetNodereclaim: bigint;
  readonly pgrefill: bigint;
  readonly pgscan: bigint;
  readonly pgsteal: bigint;
  readonly pgactivate: bigint;
  readonly pgdeactivate: bigint;
  readonly pglazyfree: bigint;
  readonly pglazyfreed: bigint;
  readonly thpFaultAlloc: bigint;
  readonly thpCollapseAlloc: bigint;
  readonly usage: bigint;
  readonly usageLimit: bigint;
  readonly swapUsage: bigint;
  readonly swapLimit: bigint;
  readonly maxUsage: bigint;
  readonly swapMaxUsage: bigint;
  readonly psi: PressureStats | undefined;
}

type ParsedMemoryStat = Omit<
  MemoryStat,
  "usage" | "usageLimit" | "swapUsage" | "swapLimit" | "maxUsage" | "swapMaxUsage" | "psi"
>;

export interface MemoryEvents {
  readonly low: bigint;
  readonly high: bigint;
  readonly max: bigint;
  readonly oom: bigint;
  readonly oomKill: bigint;
  readonly oomGroupKill: bigint;
}

/** Undefined without the controller. */
export function readMemory(directory: StatDirectory): MemoryStat | undefined {
  const text = directory.read(STAT_FILE);
  if (text === undefined) return undefined;
  const of = (name: string): bigint => readLimit(directory, name, MAX_UINT64) ?? 0n;
  return {
    ...parseMemoryStat(text),
    usage: of(CURRENT_FILE),
    usageLimit: of(MAX_FILE),
    swapUsage: of(SWAP_CURRENT_FILE),
    swapLimit: of(SWAP_MAX_FILE),
    maxUsage: of(PEAK_FILE),
    swapMaxUsage: of(SWAP_PEAK_FILE),
    psi: readPressure(directory, PRESSURE_FILE),
  };
}

/** Undefined without the controller, and in the root cgroup. */
export function readMemoryEvents(directory: StatDirectory): MemoryEvents | undefined {
  const counters = readCounters(directory, MEMORY_EVENTS_FILE);
  if (counters === undefined || counters.size === 0) return undefined;
  return {
    low: counters.get("low") ?? 0n,
    high: counters.get("high") ?? 0n,
    max: counters.get("max") ?? 0n,
    oom: counters.get("oom") ?? 0n,
    oomKill: counters.get("oom_kill") ?? 0n,
    oomGroupKill: counters.get("oom_group_kill") ?? 0n,
  };
}

/** The part of the figures that comes from `memory.stat`. */
export function parseMemoryStat(text: string): ParsedMemoryStat {
  const counters = parseCounters(text);
  const of = (name: string): bigint => counters.get(name) ?? 0n;
  return {
    anon: of("anon"),
    file: of("file"),
    kernelStack: of("kernel_stack"),
    slab: of("slab"),
    sock: of("sock"),
    shmem: of("shmem"),
    fileMapped: of("file_mapped"),
    fileDirty: of("file_dirty"),
    fileWriteback: of("file_writeback"),
    anonThp: of("anon_thp"),
    inactiveAnon: of("inactive_anon"),
    activeAnon: of("active_anon"),
    inactiveFile: of("inactive_file"),
    activeFile: of("active_file"),
    unevictable: of("unevictable"),
    slabReclaimable: of("slab_reclaimable"),
    slabUnreclaimable: of("slab_unreclaimable"),
    pgfault: of("pgfault"),
    pgmajfault: of("pgmajfault"),
    // Linux 5.9 split these two by kind of page, for which the message has no fields: 0 since then.
    workingsetRefault: of("workingset_refault"),
    workingsetActivate: of("workingset_activate"),
    workingsetNodereclaim: of("workingset_nodereclaim"),
    pgrefill: of("pgrefill"),
    pgscan: of("pgscan"),
    pgsteal: of("pgsteal"),
    pgactivate: of("pgactivate"),
    pgdeactivate: of("pgdeactivate"),
    pglazyfree: of("pglazyfree"),
    pglazyfreed: of("pglazyfreed"),
    thpFaultAlloc: of("thp_fault_alloc"),
    thpCollapseAlloc: of("thp_collapse_alloc"),
  };
}
