import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { pidNamespaceMembers } from "../../src/linux/pid-namespace.ts";

test("pidNamespaceMembers() finds the processes of a namespace, and nobody else", async () => {
  const script = "sleep 600 & echo up; wait";
  await using outer = Bun.spawn(
    ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", script],
    { stdout: "pipe", stdin: "ignore" },
  );
  // unshare(1) ignores what a test run would end it by.
  using _end = { [Symbol.dispose]: () => outer.kill("SIGKILL") };
  await outer.stdout.getReader().read();
  const children = (pid: number) =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").map(Number);
  const [init = 0] = children(outer.pid);
  expect(pidNamespaceMembers(init)).toEqual([init, ...children(init)]);
  expect(pidNamespaceMembers(process.pid)).toContain(outer.pid);
  expect(pidNamespaceMembers(process.pid)).not.toContain(init);
});

test("a process that is gone has no neighbours", () => {
  expect(pidNamespaceMembers(2 ** 22 + 1)).toEqual([]);
});
