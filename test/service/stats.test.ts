import { expect, test } from "bun:test";
import { Metrics as MetricsV1 } from "../../src/gen/io/containerd/cgroups/v1/metrics.ts";
import { Metrics as MetricsV2 } from "../../src/gen/io/containerd/cgroups/v2/metrics.ts";
import { toStats } from "../../src/service/stats.ts";

const NOTHING = new Uint8Array(0);

test("on v2, controllers that are not there have zeros, and what is optional stays away", () => {
  const pids = { current: 3n, limit: 7n };
  const found = { ...MetricsV2.decode(NOTHING), pids };
  const { value } = toStats({ version: 2, metrics: { ...found, hugetlb: [], network: [] } });
  const stats = MetricsV2.decode(value);
  expect(stats.pids).toEqual(pids);
  expect(stats.memory).toMatchObject({ usage: 0n, usageLimit: 0n, psi: undefined });
  expect(stats.cpu).toMatchObject({ usageUsec: 0n });
  expect(stats.io).toEqual({ usage: [], psi: undefined });
  expect(stats.rdma).toEqual({ current: [], limit: [] });
  expect(stats.memoryEvents).toBeUndefined();
});

test("on v1, that goes for the processor and for block devices", () => {
  const pids = { current: 3n, limit: 7n };
  const none = { cpu: undefined, memory: undefined, blkio: undefined, rdma: undefined };
  const never = { network: [], cgroupStats: undefined, memoryOomControl: undefined };
  const { value } = toStats({ version: 1, metrics: { pids, hugetlb: [], ...none, ...never } });
  const stats = MetricsV1.decode(value);
  expect(stats.cpu?.usage).toMatchObject({ total: 0n, perCpu: [] });
  expect(stats.cpu?.throttling).toMatchObject({ periods: 0n });
  expect(stats.blkio?.ioServicedRecursive).toEqual([]);
  expect(stats.memory).toBeUndefined();
});
