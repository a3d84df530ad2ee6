import { expect, test } from "bun:test";
import { privateKilobytes } from "../../src/linux/memory.ts";

const MEGABYTE = 1024 * 1024;

test("private memory grows by what is touched, and is given in kilobytes", () => {
  const before = privateKilobytes();
  const touched = new Uint8Array(64 * MEGABYTE).fill(1);
  const grown = privateKilobytes() - before;
  expect(grown).toBeGreaterThan(60 * 1024);
  expect(grown).toBeLessThan(70 * 1024);
  expect(touched.length).toBe(64 * MEGABYTE);
});
