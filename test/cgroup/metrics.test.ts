import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CgroupLocation, locateCgroup } from "../../src/cgroup/cgroup.ts";
import { MetricsReader, type MetricsRoots } from "../../src/cgroup/metrics.ts";
import { MAX_UINT64 } from "../../src/cgroup/stat-file.ts";
import type { MetricsV1 } from "../../src/cgroup/v1/metrics.ts";
import type { MetricsV2 } from "../../src/cgroup/v2/metrics.ts";
import { Metrics as MessageV1 } from "../../src/gen/io/containerd/cgroups/v1/metrics.ts";
import { Metrics as MessageV2 } from "../../src/gen/io/containerd/cgroups/v2/metrics.ts";
import { makeCgroup, makeTree, type Tree } from "./tree.ts";

const HUGE_PAGES = { "huge/hugepages-2048kB/x": "", "huge/hugepages-1048576kB/x": "" };
const PARTITIONS =
  "major minor  #blocks  name\n\n   8        0   1000 sda\n   8        1   500 sda1\n";

function rootsOf(tree: Tree): MetricsRoots {
  return { proc: join(tree.path, "proc"), hugePages: join(tree.path, "huge") };
}

function readV1(tree: Tree, controllers: readonly string[]): MetricsV1 {
  const paths = Object.fromEntries(controllers.map((name) => [name, join(tree.path, name)]));
  using reader = new MetricsReader({ version: 1, paths }, rootsOf(tree));
  const answer = reader.read();
  if (answer.version !== 1) throw new Error("Not v1");
  return answer.metrics;
}

function readV2(tree: Tree): MetricsV2 {
  const answer = new MetricsReader(
    { version: 2, path: join(tree.path, "c1") },
    rootsOf(tree),
  ).read();
  if (answer.version !== 2) throw new Error("Not v2");
  return answer.metrics;
}

describe("MetricsReader on v1", () => {
  const CONTROLLERS = ["cpu", "cpuacct", "memory", "pids", "blkio", "hugetlb", "rdma"];
  const files = {
    ...HUGE_PAGES,
    "proc/partitions": PARTITIONS,
    "cpu/cpu.stat": "nr_periods 10\nnr_throttled 3\nthrottled_time 12345678901\nnr_bursts 0\n",
    "cpuacct/cpuacct.usage": "987654321987\n",
    "cpuacct/cpuacct.usage_percpu": "500 987654321487 \n",
    "cpuacct/cpuacct.stat": "user 7\nsystem 3\n",
    "pids/pids.current": "5\n",
    "pids/pids.max": "max\n",
    "memory/memory.stat":
      "cache 1\nrss 2\nrss_huge 3\nshmem 77\npgpgin 4\nhierarchical_memory_limit 9223372036854771712\n" +
      "hierarchical_memsw_limit 18446744073709551615\ntotal_rss 5\ntotal_unevictable 6\n",
    "memory/memory.oom_control": "oom_kill_disable 1\nunder_oom 0\noom_kill 2\n",
    "memory/memory.usage_in_bytes": "11\n",
    "memory/memory.max_usage_in_bytes": "12\n",
    "memory/memory.failcnt": "13\n",
    "memory/memory.limit_in_bytes": "9223372036854771712\n",
    "memory/memory.kmem.usage_in_bytes": "21\n",
    "memory/memory.kmem.max_usage_in_bytes": "22\n",
    "memory/memory.kmem.failcnt": "0\n",
    "memory/memory.kmem.limit_in_bytes": "-1\n",
    "hugetlb/hugetlb.2MB.usage_in_bytes": "2097152\n",
    "hugetlb/hugetlb.2MB.max_usage_in_bytes": "4194304\n",
    "hugetlb/hugetlb.2MB.failcnt": "1\n",
    "rdma/rdma.current": "mlx4_0 hca_handle=2 hca_object=2000\n",
    "rdma/rdma.max": "mlx4_0 hca_handle=3 hca_object=max\n",
    "blkio/blkio.throttle.io_serviced": "8:0 Read 3\n8:0 Total 3\n9:7 Write 4\nTotal 7\n",
    "blkio/blkio.throttle.io_service_bytes": "8:1 Read 4096\nTotal 4096\n",
  };

  test("every part is read, times in nanoseconds, with the wire's own field names", () => {
    using tree = makeTree(files);
    const metrics = readV1(tree, CONTROLLERS);
    expect(metrics).toMatchObject({
      cpu: {
        usage: {
          total: 987654321987n,
          user: 70_000_000n,
          kernel: 30_000_000n,
          perCpu: [500n, 987654321487n],
        },
        throttling: { periods: 10n, throttledPeriods: 3n, throttledTime: 12345678901n },
      },
      pids: { current: 5n, limit: 0n },
      memory: {
        cache: 1n,
        rss: 2n,
        rssHuge: 3n,
        pgPgIn: 4n,
        hierarchicalMemoryLimit: 9223372036854771712n,
        hierarchicalSwapLimit: MAX_UINT64,
        totalRss: 5n,
        totalUnevictable: 6n,
        totalCache: 0n,
        usage: { usage: 11n, max: 12n, failcnt: 13n, limit: 9223372036854771712n },
        swap: { usage: 0n, max: 0n, failcnt: 0n, limit: 0n },
        kernel: { usage: 21n, max: 22n, failcnt: 0n, limit: 0n },
        kernelTcp: { usage: 0n, max: 0n, failcnt: 0n, limit: 0n },
      },
      memoryOomControl: { oomKillDisable: 1n, underOom: 0n, oomKill: 2n },
      hugetlb: [{ pagesize: "2MB", usage: 2097152n, max: 4194304n, failcnt: 1n }],
      rdma: {
        current: [{ device: "mlx4_0", hcaHandles: 2, hcaObjects: 2000 }],
        limit: [{ device: "mlx4_0", hcaHandles: 3, hcaObjects: 4294967295 }],
      },
      network: [],
      cgroupStats: undefined,
    });
    expect(metrics.blkio).toEqual({
      ioServicedRecursive: [
        { device: "/dev/sda", major: 8n, minor: 0n, op: "Read", value: 3n },
        { device: "/dev/sda", major: 8n, minor: 0n, op: "Total", value: 3n },
        { device: "", major: 9n, minor: 7n, op: "Write", value: 4n },
      ],
      ioServiceBytesRecursive: [
        { device: "/dev/sda1", major: 8n, minor: 1n, op: "Read", value: 4096n },
      ],
      ioQueuedRecursive: [],
      ioServiceTimeRecursive: [],
      ioWaitTimeRecursive: [],
      ioMergedRecursive: [],
      ioTimeRecursive: [],
      sectorsRecursive: [],
    });
    const message: MessageV1 = metrics;
    expect(MessageV1.decode(MessageV1.encode(message).finish())).toEqual(message);
  });

  test("where the CFQ scheduler counts, its files are told and not the throttling layer's", () => {
    using tree = makeTree({
      ...files,
      "blkio/blkio.io_serviced_recursive": "8:0 Read 1\nTotal 1\n",
      "blkio/blkio.io_service_bytes_recursive": "8:0 Read 2\nTotal 2\n",
      "blkio/blkio.sectors_recursive": "8:0 99\n",
      "blkio/blkio.time_recursive": "8:1 5\n",
    });
    const blkio = readV1(tree, ["blkio"]).blkio;
    expect(blkio?.sectorsRecursive).toEqual([
      { device: "/dev/sda", major: 8n, minor: 0n, op: "", value: 99n },
    ]);
    expect(blkio?.ioServicedRecursive).toHaveLength(1);
    expect(blkio?.ioServiceBytesRecursive[0]?.value).toBe(2n);
    expect(blkio?.ioTimeRecursive[0]?.device).toBe("/dev/sda1");
  });

  test("CFQ files that are empty give way to the throttling layer's", () => {
    using tree = makeTree({ ...files, "blkio/blkio.io_serviced_recursive": "" });
    expect(readV1(tree, ["blkio"]).blkio?.ioServicedRecursive).toHaveLength(3);
  });

  test("without a controller its part is undefined; cpu is whole if there is half of it", () => {
    using tree = makeTree({ "cpu/cpu.stat": "nr_periods 1\n", "memory/other": "" });
    expect(readV1(tree, CONTROLLERS)).toEqual({
      hugetlb: [],
      pids: undefined,
      cpu: {
        usage: { total: 0n, kernel: 0n, user: 0n, perCpu: [] },
        throttling: { periods: 1n, throttledPeriods: 0n, throttledTime: 0n },
      },
      memory: undefined,
      blkio: undefined,
      rdma: undefined,
      network: [],
      cgroupStats: undefined,
      memoryOomControl: undefined,
    });
  });
});

describe("MetricsReader on v2", () => {
  const PRESSURE =
    "some avg10=1.50 avg60=0.25 avg300=0.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.10 total=45\n";
  const files = {
    ...HUGE_PAGES,
    "c1/cpu.stat":
      "usage_usec 300\nuser_usec 100\nsystem_usec 200\nnice_usec 1\ncore_sched.force_idle_usec 0\n" +
      "nr_periods 4\nnr_throttled 5\nthrottled_usec 6\nnr_bursts 7\nburst_usec 8\n",
    "c1/cpu.pressure": PRESSURE,
    "c1/pids.current": "5\n",
    "c1/pids.max": "max\n",
    "c1/memory.stat": "anon 1\nfile 2\nkernel_stack 3\npgfault 4\nthp_collapse_alloc 5\nzswap 9\n",
    "c1/memory.current": "6\n",
    "c1/memory.max": "max\n",
    "c1/memory.peak": "7\n",
    "c1/memory.swap.current": "0\n",
    "c1/memory.swap.max": "8\n",
    "c1/memory.pressure": PRESSURE,
    "c1/memory.events": "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n",
    "c1/io.stat":
      "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n7:0 \n253:1 rbytes=x wios=9\nnonsense\n",
    "c1/hugetlb.2MB.current": "2097152\n",
    "c1/hugetlb.2MB.max": "max\n",
    "c1/hugetlb.2MB.events": "max 3\n",
    "c1/hugetlb.1GB.current": "0\n",
    "c1/hugetlb.1GB.max": "1073741824\n",
    "c1/rdma.current": "mlx4_0 hca_handle=2 hca_object=2000\nocrdma1 hca_handle=max hca_object=1\n",
    "c1/rdma.max": "",
  };

  test("every part is read, times in microseconds, no limit as the largest number", () => {
    using tree = makeTree(files);
    const metrics = readV2(tree);
    const psi = {
      some: { avg10: 1.5, avg60: 0.25, avg300: 0, total: 123n },
      full: { avg10: 0, avg60: 0, avg300: 0.1, total: 45n },
    };
    expect(metrics).toMatchObject({
      pids: { current: 5n, limit: MAX_UINT64 },
      memory: {
        anon: 1n,
        file: 2n,
        kernelStack: 3n,
        pgfault: 4n,
        thpCollapseAlloc: 5n,
        slab: 0n,
        usage: 6n,
        usageLimit: MAX_UINT64,
        maxUsage: 7n,
        swapUsage: 0n,
        swapLimit: 8n,
        swapMaxUsage: 0n,
        psi,
      },
      memoryEvents: { low: 1n, high: 2n, max: 3n, oom: 4n, oomKill: 5n, oomGroupKill: 6n },
      rdma: {
        current: [
          { device: "mlx4_0", hcaHandles: 2, hcaObjects: 2000 },
          { device: "ocrdma1", hcaHandles: 4294967295, hcaObjects: 1 },
        ],
        limit: [],
      },
      network: [],
    });
    expect(metrics.cpu).toEqual({
      usageUsec: 300n,
      userUsec: 100n,
      systemUsec: 200n,
      nrPeriods: 4n,
      nrThrottled: 5n,
      throttledUsec: 6n,
      nrBursts: 7n,
      burstUsec: 8n,
      psi,
    });
    expect(metrics.io).toEqual({
      usage: [
        { major: 8n, minor: 0n, rbytes: 1n, wbytes: 2n, rios: 3n, wios: 4n },
        { major: 7n, minor: 0n, rbytes: 0n, wbytes: 0n, rios: 0n, wios: 0n },
        { major: 253n, minor: 1n, rbytes: 0n, wbytes: 0n, rios: 0n, wios: 9n },
      ],
      psi: undefined,
    });
    expect(metrics.hugetlb).toEqual([
      { pagesize: "1GB", current: 0n, max: 1073741824n, failcnt: 0n },
      { pagesize: "2MB", current: 2097152n, max: MAX_UINT64, failcnt: 3n },
    ]);
    const message: MessageV2 = metrics;
    expect(MessageV2.decode(MessageV2.encode(message).finish())).toEqual(message);
  });

  test("a cgroup without controllers has cpu alone", () => {
    using tree = makeTree({ "c1/cpu.stat": "usage_usec 1\n" });
    const { cpu, ...rest } = readV2(tree);
    expect(cpu?.usageUsec).toBe(1n);
    expect(rest).toEqual({
      pids: undefined,
      memory: undefined,
      rdma: undefined,
      io: undefined,
      hugetlb: [],
      memoryEvents: undefined,
      network: [],
    });
  });

  test("odd and giant contents make no error, and can be sent", () => {
    using tree = makeTree({
      "c1/cpu.stat": "usage_usec 99999999999999999999999\nuser_usec -5\nsystem_usec\n\n  \nx y z\n",
      "c1/pids.current": "",
      "c1/pids.max": "garbage",
      "c1/memory.stat": `${"line 1\n".repeat(200_000)}anon 18446744073709551614\n`,
      "c1/memory.current": "1\n2\n3\n",
      "c1/io.pressure": "\nsome\nfull avg10=nan total=\n",
      "c1/io.stat": "a:b rbytes=1\n8:0\n",
      "c1/rdma.current": "dev hca_handle=9999999999 hca_object\n",
      "c1/memory.events": "",
    });
    const metrics = readV2(tree);
    expect(metrics.cpu).toMatchObject({ usageUsec: MAX_UINT64, userUsec: 0n, systemUsec: 0n });
    expect(metrics.pids).toEqual({ current: 0n, limit: 0n });
    expect(metrics.memory).toMatchObject({ anon: 18446744073709551614n, usage: 0n });
    expect(metrics.rdma?.current).toEqual([{ device: "dev", hcaHandles: 0, hcaObjects: 0 }]);
    expect(metrics.memoryEvents).toBeUndefined();
    expect(MessageV2.encode(metrics).finish().length).toBeGreaterThan(0);
  });
});

test.each([
  { version: 1, paths: { memory: "/no/such/memory", cpu: "/no/such/cpu" } },
  { version: 1, paths: {} },
  { version: 2, path: "/no/such" },
] satisfies CgroupLocation[])("MetricsReader of %j: the cgroup does not exist", (location) => {
  expect(() => new MetricsReader(location).read()).toThrow(
    expect.objectContaining({ reason: "notFound", message: "cgroup does not exist" }),
  );
});

describe.skipIf(!existsSync("/sys/fs/cgroup/memory/memory.stat"))(
  "MetricsReader on this machine",
  () => {
    test("figures of a stopped process equal its raw files", async () => {
      using memory = makeCgroup("/sys/fs/cgroup/memory");
      using pids = makeCgroup("/sys/fs/cgroup/pids");
      using accounting = makeCgroup("/sys/fs/cgroup/cpuacct");
      using blkio = makeCgroup("/sys/fs/cgroup/blkio");
      writeFileSync(join(memory.path, "memory.limit_in_bytes"), String(64 << 20));
      writeFileSync(join(pids.path, "pids.max"), "33");
      await using child = Bun.spawn(["sleep", "60"]);
      for (const { path } of [memory, pids, accounting, blkio]) {
        writeFileSync(join(path, "cgroup.procs"), String(child.pid));
      }
      const raw = (path: string, name: string) => BigInt(readFileSync(join(path, name), "utf8"));
      // A program that is loaded still adds to the figures; the kernel adds the last ones as it is taken off.
      child.kill("SIGSTOP");
      using _end = { [Symbol.dispose]: () => child.kill("SIGKILL") };
      const used = () => raw(accounting.path, "cpuacct.usage");
      const isStopped = () => /\) T /.test(readFileSync(`/proc/${child.pid}/stat`, "utf8"));
      for (let before = -1n; !isStopped() || before !== used(); await Bun.sleep(5)) before = used();
      const location = locateCgroup(child.pid);
      if (location?.version !== 1) throw new Error("Not on v1");
      using reader = new MetricsReader(location);
      const answer = reader.read();
      if (answer.version !== 1) throw new Error("Not v1");
      const { metrics } = answer;
      expect(metrics.pids).toEqual({ current: 1n, limit: 33n });
      expect(metrics.memory?.usage).toEqual({
        limit: 67108864n,
        usage: raw(memory.path, "memory.usage_in_bytes"),
        max: raw(memory.path, "memory.max_usage_in_bytes"),
        failcnt: 0n,
      });
      expect(metrics.memory?.kernel.usage).toBe(raw(memory.path, "memory.kmem.usage_in_bytes"));
      expect(metrics.memory?.hierarchicalMemoryLimit).toBe(67108864n);
      expect(metrics.memoryOomControl).toEqual({ oomKillDisable: 0n, underOom: 0n, oomKill: 0n });
      const total = metrics.cpu?.usage.total;
      expect(total).toBe(raw(accounting.path, "cpuacct.usage"));
      expect(metrics.cpu?.usage.perCpu.reduce((sum, value) => sum + value, 0n)).toBe(total);
      expect(metrics.blkio).toBeDefined();
      expect(MessageV1.decode(MessageV1.encode(metrics).finish())).toEqual(metrics);
    });

    test("a cgroup that is removed is not found, and one that has its name then is another", () => {
      const cgroup = makeCgroup("/sys/fs/cgroup/memory");
      using reader = new MetricsReader({ version: 1, paths: { memory: cgroup.path } });
      const limit = () => {
        const { metrics } = reader.read();
        return (metrics as MetricsV1).memory?.usage.limit;
      };
      writeFileSync(join(cgroup.path, "memory.limit_in_bytes"), String(32 << 20));
      expect(limit()).toBe(33554432n);
      writeFileSync(join(cgroup.path, "memory.limit_in_bytes"), String(64 << 20));
      expect(limit()).toBe(67108864n);
      cgroup[Symbol.dispose]();
      expect(() => reader.read()).toThrow("cgroup does not exist");
      mkdirSync(cgroup.path);
      try {
        writeFileSync(join(cgroup.path, "memory.limit_in_bytes"), String(128 << 20));
        expect(limit()).toBe(134217728n);
        // Without a reading between its end and the next one.
        rmdirSync(cgroup.path);
        mkdirSync(cgroup.path);
        writeFileSync(join(cgroup.path, "memory.limit_in_bytes"), String(32 << 20));
        expect(limit()).toBe(33554432n);
      } finally {
        rmdirSync(cgroup.path);
      }
    });
  },
);

test.skipIf(!existsSync("/sys/fs/cgroup/unified/cgroup.controllers"))(
  "MetricsReader on a real v2 cgroup of this machine",
  async () => {
    using cgroup = makeCgroup("/sys/fs/cgroup/unified");
    await using child = Bun.spawn(["sh", "-c", "read x; while :; do :; done"], { stdin: "pipe" });
    writeFileSync(join(cgroup.path, "cgroup.procs"), String(child.pid));
    child.stdin.write("\n");
    await child.stdin.end();
    using reader = new MetricsReader({ version: 2, path: cgroup.path });
    const read = () => {
      const answer = reader.read();
      return answer.version === 2 ? (answer.metrics.cpu?.usageUsec ?? 0n) : 0n;
    };
    while (read() < 10_000n) await Bun.sleep(5);
    const stat = readFileSync(join(cgroup.path, "cpu.stat"), "utf8");
    expect(stat).toContain("usage_usec");
    expect(read()).toBeLessThan(60_000_000n);
  },
);
