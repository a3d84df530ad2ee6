import { expect, test } from "bun:test";
import { toFigures } from "../../src/debug/host/figures.ts";
import { toFamilies } from "../../src/debug/metric-families.ts";
import { formatMetrics } from "../../src/debug/output/openmetrics.ts";
import { bundleOf, processOf, shimOf } from "./host.ts";

const figures = {
  cpuMs: 1500,
  throttledMs: 0,
  memoryBytes: 4096,
  workingSetBytes: 2048,
  memoryLimitBytes: undefined,
  oomKills: 1,
  pids: 2,
  pidsLimit: undefined,
  readBytes: 7,
  writtenBytes: undefined,
};

test("the families of a host with one container", () => {
  const shim = shimOf();
  const memory = { pss: 3_000_000, private: 2_000_000, rss: 9_000_000 };
  const bundle = bundleOf({ pod: 'team/"a"' });
  const state = {
    status: "running" as const,
    init: processOf(),
    cgroup: undefined,
    pids: [101, 102],
    exit: undefined,
  };
  const row = { namespace: "default", id: "web", shim, bundle, state };
  const text = formatMetrics(
    toFamilies({
      shims: [{ shim, memory, answer: undefined }],
      containers: [{ row, figures }],
      strayBundles: 0,
    }),
  );
  expect(text).toMatchSnapshot();
});

test("every line has the form that collectors read", () => {
  const shim = shimOf({ id: 'a"b\\c\nd' });
  const text = formatMetrics(
    toFamilies({
      shims: [{ shim, memory: undefined, answer: undefined }],
      containers: [],
      strayBundles: 2,
    }),
  );
  expect(text.endsWith("# EOF\n")).toBe(true);
  expect(text).toContain('shim="a\\"b\\\\c\\nd"');
  const sample = /^[a-z_]+(\{([a-z_]+="([^"\\\n]|\\[\\n"])*",?)+\})? -?\d+(\.\d+)?$/;
  const comment = /^# (TYPE [a-z_]+ (gauge|counter)|UNIT [a-z_]+ [a-z]+|HELP [a-z_]+ .*\.|EOF)$/;
  for (const line of text.trimEnd().split("\n"))
    expect(line).toMatch(line[0] === "#" ? comment : sample);
});

test("a family with a unit ends with it, and a counter's samples with _total", () => {
  const shim = shimOf();
  const families = toFamilies({
    shims: [{ shim, memory: undefined, answer: undefined }],
    containers: [],
    strayBundles: 0,
  });
  for (const { name, unit } of families) if (unit !== undefined) expect(name).toEndWith(`_${unit}`);
  expect(families.filter(({ name }) => name.endsWith("_total"))).toEqual([]);
  expect(new Set(families.map(({ name }) => name)).size).toBe(families.length);
});

test("figures of cgroup v1 and v2 come to the same", () => {
  const none = { hugetlb: [], rdma: undefined, network: [] as never[] };
  const v2 = toFigures({
    version: 2,
    metrics: {
      ...none,
      pids: { current: 3n, limit: 0n },
      cpu: undefined,
      memory: undefined,
      io: {
        usage: [
          { major: 8n, minor: 0n, rbytes: 5n, wbytes: 1n, rios: 1n, wios: 1n },
          { major: 8n, minor: 16n, rbytes: 6n, wbytes: 2n, rios: 1n, wios: 1n },
        ],
        psi: undefined,
      },
      memoryEvents: undefined,
    },
  });
  expect(v2).toMatchObject({ pids: 3, pidsLimit: undefined, readBytes: 11, writtenBytes: 3 });
  const entry = (op: string, value: bigint) => ({ op, device: "", major: 8n, minor: 0n, value });
  const v1 = toFigures({
    version: 1,
    metrics: {
      ...none,
      pids: { current: 3n, limit: 10n },
      cpu: undefined,
      memory: undefined,
      blkio: {
        ioServiceBytesRecursive: [entry("Read", 11n), entry("Write", 3n), entry("Total", 14n)],
        ioServicedRecursive: [],
        ioQueuedRecursive: [],
        ioServiceTimeRecursive: [],
        ioWaitTimeRecursive: [],
        ioMergedRecursive: [],
        ioTimeRecursive: [],
        sectorsRecursive: [],
      },
      cgroupStats: undefined,
      memoryOomControl: { oomKillDisable: 0n, underOom: 0n, oomKill: 2n },
    },
  });
  expect(v1).toMatchObject({ pids: 3, pidsLimit: 10, oomKills: 2, readBytes: 11, writtenBytes: 3 });
});
