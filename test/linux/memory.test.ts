import { expect, test } from "bun:test";
import { cpus } from "node:os";
import {
  MemoryGauge,
  ownLooks,
  privateKilobytes,
  roughPrivateKilobytes,
} from "../../src/linux/memory.ts";

const MEGABYTE = 1024 * 1024;

test("private memory grows by what is touched, and is given in kilobytes", () => {
  const before = privateKilobytes();
  const touched = new Uint8Array(64 * MEGABYTE).fill(1);
  const grown = privateKilobytes() - before;
  expect(grown).toBeGreaterThan(60 * 1024);
  expect(grown).toBeLessThan(70 * 1024);
  expect(touched.length).toBe(64 * MEGABYTE);
});

test.each([
  ["closely, where there is much", 0, privateKilobytes],
  ["roughly, where there is little", Number.POSITIVE_INFINITY, roughPrivateKilobytes],
])("a gauge looks %s", (_, near, look) => {
  const gauge = new MemoryGauge(near);
  const touched = new Uint8Array(16 * MEGABYTE).fill(1);
  expect(Math.abs(gauge.read() - look())).toBeLessThan(512);
  expect(touched.length).toBe(16 * MEGABYTE);
});

test("a rough look may be wrong by what each processor has not told of yet", () => {
  expect(ownLooks().error).toBeGreaterThanOrEqual(cpus().length * 32 * 4);
});

test("where a rough look is sure enough there is no close one, however long", async () => {
  const gauge = new MemoryGauge(10, { rough: () => 7, close: () => 20, error: 2 });
  expect(gauge.read()).toBe(7);
  await Bun.sleep(1000);
  expect([gauge.read(), gauge.read()]).toEqual([7, 7]);
});

test("where it may be wrong by what matters, all that is near is looked at closely", () => {
  const gauge = new MemoryGauge(10, { rough: () => 9, close: () => 8, error: 2 });
  expect([gauge.read(), gauge.read()]).toEqual([8, 8]);
});

test("where it is off by little there is no close one either", () => {
  const close = () => {
    throw new Error("It was looked at closely");
  };
  const gauge = new MemoryGauge(160, { rough: () => 200, close, error: 10 });
  expect([gauge.read(), gauge.read()]).toEqual([200, 200]);
});

test("where a rough look tells nothing, a close one that has found much is followed by close ones", async () => {
  let close = 5;
  const gauge = new MemoryGauge(10, { rough: () => 1, close: () => close, error: 100 });
  expect(gauge.read()).toBe(1);
  await Bun.sleep(1000);
  expect(gauge.read()).toBe(5);
  expect(gauge.read()).toBe(1);
  close = 20;
  await Bun.sleep(1000);
  expect([gauge.read(), gauge.read(), gauge.read()]).toEqual([20, 20, 20]);
  close = 5;
  expect([gauge.read(), gauge.read()]).toEqual([5, 1]);
});
