/** How likely a shim, its runtime and its containers are to be killed, and what they inherit: read in /proc. */

import { expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { matrix, type Scene } from "./matrix.ts";
import { poll } from "./poll.ts";

const HUGE_PAGES = /^THP_enabled:\t(\d)$/m;
const CGROUP_ROOT = "/sys/fs/cgroup";

interface Place {
  readonly score: number;
  readonly hasHugePages: boolean;
}

function placeOf(scene: Scene, pid: number): Place {
  const read = (file: string) =>
    readFileSync(scene.daemon.sandbox.path(`/proc/${pid}/${file}`), "utf8");
  const [, pages] = HUGE_PAGES.exec(read("status")) ?? [];
  return { score: Number(read("oom_score_adj")), hasHugePages: pages === "1" };
}

function daemonPid(scene: Scene): number {
  const found = [...scene.daemon.sandbox.processes()].find(([, line]) =>
    /^\S*containerd --config /.test(line),
  );
  return found?.[0] ?? 0;
}

/** A wrapper around runc that notes its arguments and its place, and the options file that names it. */
function wrapRuntime(scene: Scene): { readonly flags: string[]; readonly notes: () => string[] } {
  const { daemon } = scene;
  const script = daemon.inside("bin/noting-runc");
  const log = daemon.inside("noted");
  writeFileSync(
    daemon.sandbox.path(script),
    `#!/bin/sh\necho "$(cat /proc/$$/oom_score_adj) $(grep THP_enabled /proc/$$/status) $*" >>${log}\n` +
      // There is no systemd to ask; what counts here is that it was to be asked.
      'for word do shift; [ "$word" = --systemd-cgroup ] || set -- "$@" "$word"; done\nexec runc "$@"\n',
  );
  chmodSync(daemon.sandbox.path(script), 0o755);
  const file = daemon.inside("noting.toml");
  writeFileSync(
    daemon.sandbox.path(file),
    `BinaryName = ${JSON.stringify(script)}\nSystemdCgroup = true\n`,
  );
  writeFileSync(daemon.sandbox.path(log), "");
  return {
    flags: ["--runtime-config-path", file],
    notes: () => readFileSync(daemon.sandbox.path(log), "utf8").trim().split("\n"),
  };
}

matrix("place", { runtimes: ["wedge"] }, (scene) => {
  test("the shim goes before containerd does; runtimes and containers have what containerd has", async () => {
    const wrapper = wrapRuntime(scene);
    const id = await scene.start(["sleep", "600"], { flags: wrapper.flags });
    const exec = ["task", "exec", "-d", "--exec-id", "e1", id, "sleep", "601"];
    await scene.daemon.ctr(...exec);
    const containerd = placeOf(scene, daemonPid(scene));
    expect(containerd.hasHugePages).toBe(true);
    const [shim = 0] = scene.daemon.shims();
    expect(placeOf(scene, shim)).toEqual({
      score: Math.min(containerd.score + 1, 1000),
      hasHugePages: false,
    });
    const sleepers = () =>
      [...scene.daemon.sandbox.processes()].filter(([, line]) => /^sleep 60[01]$/.test(line));
    // A process is there a moment before it runs its program.
    await poll("both programs run", () => sleepers().length === 2);
    expect(sleepers().map(([pid]) => placeOf(scene, pid))).toEqual([containerd, containerd]);
    await scene.remove(id);
    const verbs = ["create", "start", "exec", "delete"];
    for (const verb of verbs) {
      const note = wrapper.notes().find((line) => line.includes(` ${verb} `)) ?? "";
      expect(note).toStartWith(`${containerd.score} THP_enabled:\t1 --root `);
    }
  });

  test("--systemd-cgroup is given to every call that names a container, after a crash too", async () => {
    const wrapper = wrapRuntime(scene);
    const id = await scene.start(["sleep", "600"], { flags: wrapper.flags });
    const [shim = 0] = scene.daemon.shims();
    await scene.daemon.killInside(shim);
    await poll("its task is gone", async () => (await scene.daemon.status(id)) !== "RUNNING");
    await scene.remove(id);
    await scene.daemon.removeClientFifos();
    const notes = wrapper.notes();
    expect(notes.some((line) => line.includes(` delete --force ${id}`))).toBe(true);
    expect(notes.filter((line) => !line.includes(" --systemd-cgroup "))).toEqual([]);
  });

  test("a shim joins the cgroup of its options, in every hierarchy that has it", async () => {
    const { daemon } = scene;
    const hierarchies = ["cpu", "freezer", "memory", "pids"]
      .map((hierarchy) => join(CGROUP_ROOT, hierarchy))
      .filter((path) => existsSync(path));
    const tops = hierarchies.length === 0 ? [CGROUP_ROOT] : hierarchies;
    // Beside the containers' own, and the sandbox removes it in any case.
    const name = `${daemon.namespace}/shims`;
    const directories = tops.map((top) => join(top, name));
    for (const directory of directories) mkdirSync(directory, { recursive: true });
    const file = daemon.inside("cgroup.toml");
    writeFileSync(daemon.sandbox.path(file), `ShimCgroup = "/${name}"\n`);
    const id = await scene.start(["sleep", "600"], { flags: ["--runtime-config-path", file] });
    const [shim = 0] = daemon.shims();
    const memberships = readFileSync(daemon.sandbox.path(`/proc/${shim}/cgroup`), "utf8");
    expect(memberships.split("\n").filter((line) => line.endsWith(`:/${name}`)).length).toBe(
      tops.length,
    );
    const pid = (await daemon.taskPid(id)) ?? 0;
    const container = readFileSync(daemon.sandbox.path(`/proc/${pid}/cgroup`), "utf8");
    expect(container).not.toContain(`:/${name}\n`);
    await scene.remove(id);
    await poll("the shim has ended", () => daemon.shims().length === 0);
    for (const directory of directories) rmdirSync(directory);
  });
});
