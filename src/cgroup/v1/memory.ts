/** The memory controller of cgroup v1. */

import type { StatDirectory } from "../stat-directory.ts";
import { parseCounters, readCounters, readLimit } from "../stat-file.ts";

const STAT_FILE = "memory.stat";
const OOM_CONTROL_FILE = "memory.oom_control";
/** What is accounted, and the part of the file names that stands for it. */
const USAGE_PREFIX = "memory.";
const SWAP_PREFIX = "memory.memsw.";
const KERNEL_PREFIX = "memory.kmem.";
const KERNEL_TCP_PREFIX = "memory.kmem.tcp.";

/** Bytes, and how often the limit was hit. */
export interface MemoryEntry {
  readonly limit: bigint;
  readonly usage: bigint;
  readonly max: bigint;
  readonly failcnt: bigint;
}

export interface MemoryStat {
  readonly cache: bigint;
  readonly rss: bigint;
  readonly rssHuge: bigint;
  readonly mappedFile: bigint;
  readonly dirty: bigint;
  readonly writeback: bigint;
  readonly pgPgIn: bigint;
  readonly pgPgOut: bigint;
  readonly pgFault: bigint;
  readonly pgMajFault: bigint;
  readonly inactiveAnon: bigint;
  readonly activeAnon: bigint;
  readonly inactiveFile: bigint;
  readonly activeFile: bigint;
  readonly unevictable: bigint;
  readonly hierarchicalMemoryLimit: bigint;
  readonly hierarchicalSwapLimit: bigint;
  readonly totalCache: bigint;
  readonly totalRss: bigint;
  readonly totalRssHuge: bigint;
  readonly totalMappedFile: bigint;
  readonly totalDirty: bigint;
  readonly totalWriteback: bigint;
  readonly totalPgPgIn: bigint;
  readonly totalPgPgOut: bigint;
  readonly totalPgFault: bigint;
  readonly totalPgMajFault: bigint;
  readonly totalInactiveAnon: bigint;
  readonly totalActiveAnon: bigint;
  readonly totalInactiveFile: bigint;
  readonly totalActiveFile: bigint;
  readonly totalUnevictable: bigint;
  /** The four entries are there even where the kernel does not account them: clients do not check. */
  readonly usage: MemoryEntry;
  readonly swap: MemoryEntry;
  readonly kernel: MemoryEntry;
  readonly kernelTcp: MemoryEntry;
}

export interface MemoryOomControl {
  readonly oomKillDisable: bigint;
  readonly underOom: bigint;
  readonly oomKill: bigint;
}

/** Undefined without the controller. */
export function readMemory(directory: StatDirectory): MemoryStat | undefined {
  const text = directory.read(STAT_FILE);
  if (text === undefined) return undefined;
  return {
    ...parseMemoryStat(text),
    usage: readEntry(directory, USAGE_PREFIX),
    swap: readEntry(directory, SWAP_PREFIX),
    kernel: readEntry(directory, KERNEL_PREFIX),
    kernelTcp: readEntry(directory, KERNEL_TCP_PREFIX),
  };
}

/** Undefined without the controller. */
export function readOomControl(directory: StatDirectory): MemoryOomControl | undefined {
  const counters = readCounters(directory, OOM_CONTROL_FILE);
  if (counters === undefined) return undefined;
  return {
    oomKillDisable: counters.get("oom_kill_disable") ?? 0n,
    underOom: counters.get("under_oom") ?? 0n,
    oomKill: counters.get("oom_kill") ?? 0n,
  };
}

/** The part of the figures that comes from `memory.stat`: bytes, except that pages and faults are counts. */
export function parseMemoryStat(
  text: string,
): Omit<MemoryStat, "usage" | "swap" | "kernel" | "kernelTcp"> {
  const counters = parseCounters(text);
  const of = (name: string): bigint => counters.get(name) ?? 0n;
  return {
    cache: of("cache"),
    rss: of("rss"),
    rssHuge: of("rss_huge"),
    mappedFile: of("mapped_file"),
    dirty: of("dirty"),
    writeback: of("writeback"),
    pgPgIn: of("pgpgin"),
    pgPgOut: of("pgpgout"),
    pgFault: of("pgfault"),
    pgMajFault: of("pgmajfault"),
    inactiveAnon: of("inactive_anon"),
    activeAnon: of("active_anon"),
    inactiveFile: of("inactive_file"),
    activeFile: of("active_file"),
    unevictable: of("unevictable"),
    hierarchicalMemoryLimit: of("hierarchical_memory_limit"),
    hierarchicalSwapLimit: of("hierarchical_memsw_limit"),
    totalCache: of("total_cache"),
    totalRss: of("total_rss"),
    totalRssHuge: of("total_rss_huge"),
    totalMappedFile: of("total_mapped_file"),
    totalDirty: of("total_dirty"),
    totalWriteback: of("total_writeback"),
    totalPgPgIn: of("total_pgpgin"),
    totalPgPgOut: of("total_pgpgout"),
    totalPgFault: of("total_pgfault"),
    totalPgMajFault: of("total_pgmajfault"),
    totalInactiveAnon: of("total_inactive_anon"),
    totalActiveAnon: of("total_active_anon"),
    totalInactiveFile: of("total_inactive_file"),
    totalActiveFile: of("total_active_file"),
    totalUnevictable: of("total_unevictable"),
  };
}

/** Zeros where the kernel does not account this kind: then one missing file is enough to know. */
function readEntry(directory: StatDirectory, prefix: string): MemoryEntry {
  const usage = readLimit(directory, `${prefix}usage_in_bytes`, 0n);
  if (usage === undefined) return { limit: 0n, usage: 0n, max: 0n, failcnt: 0n };
  return {
    limit: readLimit(directory, `${prefix}limit_in_bytes`, 0n) ?? 0n,
    usage,
    max: readLimit(directory, `${prefix}max_usage_in_bytes`, 0n) ?? 0n,
    failcnt: readLimit(directory, `${prefix}failcnt`, 0n) ?? 0n,
  };
}
