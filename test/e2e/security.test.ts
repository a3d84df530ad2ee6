/** What a container, another user, or whoever looks into the bundle can reach of a shim. */

import { expect, test } from "bun:test";
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { matrix, type Scene } from "./matrix.ts";

const PERMISSIONS = 0o777;

async function initOf(scene: Scene, id: string): Promise<string> {
  const pid = await scene.daemon.taskPid(id);
  return scene.daemon.sandbox.path(`/proc/${pid}`);
}

function shimOf(scene: Scene): string {
  const [pid = 0] = scene.daemon.shims();
  return scene.daemon.sandbox.path(`/proc/${pid}`);
}

function modesBelow(directory: string): Map<string, number> {
  const modes = new Map<string, number>();
  for (const name of readdirSync(directory)) {
    modes.set(name, lstatSync(join(directory, name)).mode & PERMISSIONS);
  }
  return modes;
}

matrix("security", { versions: "all" }, (scene) => {
  test("a container's process has its three streams and no other descriptor", async () => {
    const id = await scene.start(["sleep", "600"]);
    const fds = join(await initOf(scene, id), "fd");
    const targets = new Map(readdirSync(fds).map((fd) => [fd, readlinkSync(join(fds, fd))]));
    expect([...targets.keys()].sort()).toEqual(["0", "1", "2"]);
    await scene.remove(id);
  });

  test("a socket is its owner's, in a directory that is its owner's", async () => {
    const id = await scene.start(["sleep", "600"]);
    const directory = scene.daemon.sandbox.path("/run/containerd/s");
    // The stock shim of 1.6, which may have made it, leaves out the right to enter.
    expect(statSync(directory).mode & PERMISSIONS & ~0o700).toBe(0);
    expect([...modesBelow(directory).values()]).toEqual([0o600]);
    await scene.remove(id);
  });
});

/** What is only its manager's to have, or changes the engine. */
const variables = {
  ...{ NOTIFY_SOCKET: "/run/none", LISTEN_FDS: "0", WATCHDOG_USEC: "1000000" },
  ...{ BUN_OPTIONS: "--none", NODE_OPTIONS: "--none" },
};

matrix("security", { versions: "all", runtimes: ["wedge"], daemon: { variables } }, (scene) => {
  test("what the shim writes into the bundle is its owner's, but for the address that tools read", async () => {
    const id = await scene.start(["sleep", "600"]);
    await scene.daemon.ctr("task", "exec", "--exec-id", "e", id, "true");
    await scene.daemon.ctr("task", "kill", "-s", "9", id);
    await scene.daemon.waitForStatus(id, "STOPPED");
    const modes = modesBelow(scene.daemon.bundle(id));
    for (const name of ["options.json", "runtime", "exit.json"]) {
      expect({ name, mode: modes.get(name) }).toEqual({ name, mode: 0o600 });
    }
    expect(modes.get("address")).toBe(0o644);
    expect(statSync(scene.daemon.bundle(id)).mode & PERMISSIONS).toBe(0o700);
    await scene.remove(id);
  });

  test("the shim leads a process group, has no port open, and an environment without what only its manager is to have", async () => {
    const id = await scene.start(["sleep", "600"]);
    const shim = shimOf(scene);
    const [, pid = "", group = ""] =
      /^(\d+) \(.*\) \S+ \d+ (\d+) /.exec(readFileSync(join(shim, "stat"), "utf8")) ?? [];
    expect(group).toBe(pid);
    const environment = readFileSync(join(shim, "environ"), "utf8");
    expect(environment).not.toMatch(new RegExp(Object.keys(variables).join("|")));
    expect(environment).toContain("PATH=");
    const inodes = new Set(
      readdirSync(join(shim, "fd")).map((fd) => {
        const path = join(shim, "fd", fd);
        return existsSync(path) ? readlinkSync(path) : "";
      }),
    );
    for (const table of ["tcp", "tcp6", "udp", "udp6"]) {
      const lines = readFileSync(join(shim, "net", table), "utf8")
        .trim()
        .split("\n")
        .slice(1);
      const ours = lines.filter((line) =>
        inodes.has(`socket:[${line.trim().split(/\s+/)[9] ?? ""}]`),
      );
      expect({ table, ours }).toEqual({ table, ours: [] });
    }
    await scene.remove(id);
  });
});
