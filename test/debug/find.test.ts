/** What is read of a host without asking anybody: executables, sockets, bundles. */

import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listBundles, readBundle } from "../../src/debug/host/bundle-facts.ts";
import { recognize } from "../../src/debug/host/executable-kind.ts";
import { listProcesses } from "../../src/debug/host/process-table.ts";
import { listUnixSockets } from "../../src/debug/host/unix-sockets.ts";

const folder = mkdtempSync(join(tmpdir(), "wedge-find-"));
afterAll(() => rmSync(folder, { recursive: true }));

function bundle(name: string, files: Readonly<Record<string, unknown>>): string {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  for (const [file, content] of Object.entries(files)) {
    const text = typeof content === "string" ? content : JSON.stringify(content);
    writeFileSync(join(path, file), text);
  }
  return path;
}

const AT = new Date("2026-01-02T03:04:05.000Z");

describe("recognize()", () => {
  test.each([
    ["/usr/bin/containerd-shim-wedge-v2", { kind: "wedge", isAsleep: false }],
    ["/memfd:wedge-sleeper", { kind: "wedge", isAsleep: true }],
    // By its sections: this very program is what a wedge shim under another name is made of.
    [process.execPath, { kind: "wedge", isAsleep: false }],
    ["/usr/bin/containerd-shim-runc-v2", { kind: "go", isAsleep: false }],
    ["/bin/busybox", { kind: "other", isAsleep: false }],
    ["/no/such/file", { kind: "other", isAsleep: false }],
  ] as const)("%s", (path, expected) => {
    expect(recognize(path, path)).toEqual(expected);
  });
});

describe("readBundle()", () => {
  test("reads pod, address, init and exit", () => {
    const path = bundle("k8s.io/web", {
      "config.json": {
        annotations: {
          "io.kubernetes.cri.sandbox-id": "abc",
          "io.kubernetes.cri.sandbox-name": "api",
          "io.kubernetes.cri.sandbox-namespace": "team",
        },
      },
      address: "unix:///run/s/old",
      "bootstrap.json": { version: 3, address: "unix:///run/s/new", protocol: "ttrpc" },
      "init.pid": "77",
      "exit.json": {
        version: 1,
        pid: 77,
        exitStatus: 137,
        signal: 9,
        exitedAt: AT.toISOString(),
        oomKilled: true,
      },
    });
    expect(readBundle(path)).toEqual({
      ...{ path, id: "web", namespace: "k8s.io", pod: "team/api", podId: "abc" },
      ...{ socket: "/run/s/new", initPid: 77, isManaged: true },
      exit: { pid: 77, exitStatus: 137, signal: 9, exitedAt: AT, oomKilled: true },
    });
  });

  test("reads an exit where a shim without room or descriptors has recorded it", () => {
    const exitedAt = AT.toISOString();
    const record = JSON.stringify({ version: 1, pid: 77, exitStatus: 3, signal: 0, exitedAt });
    const full = bundle("spare/full", { "config.json": {}, "init.pid": `77\n${record}` });
    const exhausted = bundle("spare/exhausted", { "config.json": {}, "init.pid": "77" });
    symlinkSync(record, join(exhausted, "exit.json"));
    for (const path of [full, exhausted]) {
      expect(readBundle(path)).toMatchObject({ initPid: 77, exit: { pid: 77, exitStatus: 3 } });
    }
    rmSync(join(folder, "spare"), { recursive: true });
  });

  test("takes damaged files for absent, and what is no bundle for none", () => {
    const damaged = bundle("default/damaged", { "config.json": "{", address: "unix:///s\n" });
    expect(readBundle(damaged)).toMatchObject({ socket: "/s", pod: undefined, exit: undefined });
    expect(readBundle(bundle("default/empty", {}))).toBeUndefined();
    expect(readBundle(join(folder, "default/missing"))).toBeUndefined();
  });

  test("bundles are listed by namespace, leftovers that are on their way out left away", () => {
    bundle("default/.gone", {});
    const listed = listBundles(folder).map((path) => path.slice(folder.length + 1));
    expect(listed).toEqual(["default/damaged", "default/empty", "k8s.io/web"]);
    expect(listBundles("/no/such/state")).toEqual([]);
  });
});

test("listUnixSockets() tells of a listener and of its connections", async () => {
  const path = join(folder, "socket");
  const socket = { data: () => {} };
  const listener = Bun.listen({ unix: path, socket });
  expect(listUnixSockets().get(path)).toMatchObject({ connections: 0 });
  const client = await Bun.connect({ unix: path, socket });
  expect(listUnixSockets().get(path)?.inode).toBeGreaterThan(0);
  while (listUnixSockets().get(path)?.connections !== 1) await Bun.sleep(1);
  client.end();
  listener.stop(true);
});

test("listProcesses() knows this process, and none that is not there", () => {
  const processes = listProcesses();
  const own = processes.get(process.pid);
  expect(own).toMatchObject({ pid: process.pid, parentPid: process.ppid });
  expect(own?.args.length).toBeGreaterThan(0);
  expect(Math.abs((own?.startedAtMs ?? 0) - performance.timeOrigin)).toBeLessThan(60_000);
  expect(processes.has(2 ** 30)).toBe(false);
});

test("listProcesses() knows the words of one that executes itself for ever, at every instant", async () => {
  const script = join(folder, "again.sh");
  writeFileSync(script, `exec /bin/sh ${script}`);
  await using child = Bun.spawn(["/bin/sh", script]);
  using _end = { [Symbol.dispose]: () => child.kill("SIGKILL") };
  // A list of that one alone.
  const proc = join(folder, "proc");
  mkdirSync(proc);
  symlinkSync(`/proc/${child.pid}`, join(proc, String(child.pid)));
  for (let look = 0; look < 3000; look++) {
    expect(listProcesses(proc).get(child.pid)?.args).toEqual(["/bin/sh", script]);
  }
});
