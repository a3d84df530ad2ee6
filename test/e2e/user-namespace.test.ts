/** Containers whose root is an ordinary user of the host. */

import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { matrix, type Scene } from "./matrix.ts";
import { poll } from "./poll.ts";

const FIRST_ID = 100_000;
const REMAPPED = ["--uidmap", `0:${FIRST_ID}:65536`, "--gidmap", `0:${FIRST_ID}:65536`];

/** The host's user of a process of the sandbox. */
function userOf(scene: Scene, pid: number): number {
  const status = readFileSync(scene.daemon.sandbox.path(`/proc/${pid}/status`), "utf8");
  return Number(/^Uid:\t(\d+)/m.exec(status)?.[1]);
}

matrix("user namespaces", {}, (scene) => {
  test("streams of a remapped root reach the client, and can be opened anew", async () => {
    const script =
      "head -n 1; id -u; echo err >&2; echo again >/dev/stdout; head -n 1 /proc/self/uid_map; exit 4";
    const run = scene.run(scene.id(), ["sh", "-c", script], { flags: ["--rm", ...REMAPPED] });
    const result = await scene.daemon.call(run, { stdin: Buffer.from("in\n") });
    expect(result).toMatchObject({ code: 4, stderr: "err\n" });
    expect(result.stdout.replace(/ +/g, " ")).toBe(`in\n0\nagain\n 0 ${FIRST_ID} 65536\n`);
  });

  test("init and execs are the user's, the root file system is too, and all of it goes", async () => {
    const id = await scene.start(["sleep", "600"], { flags: REMAPPED });
    const pid = (await scene.daemon.taskPid(id)) ?? 0;
    await poll("init is the user's", () => userOf(scene, pid) === FIRST_ID);
    const script = "id -u; touch /made && stat -c %u /made; cat /proc/1/oom_score_adj";
    const exec = ["task", "exec", "--exec-id", "e1", id, "sh", "-c", script];
    const { code, stdout } = await scene.daemon.call(exec);
    expect(code).toBe(0);
    expect(stdout).toStartWith("0\n0\n");
    await scene.remove(id);
  });

  test("a terminal belongs to the remapped user", async () => {
    const script = "tty; echo x >/dev/tty && echo written";
    const terminal = scene.daemon.terminal(
      scene.run(scene.id(), ["sh", "-c", script], { flags: ["--rm", "-t", ...REMAPPED] }),
    );
    expect(await terminal.finish()).toBe(0);
    expect(terminal.output).toContain("written");
  });
});

matrix(
  "user namespaces, of 2.x with mapped layers",
  { versions: "all", runtimes: ["wedge"] },
  (scene) => {
    test("a layer is the container's own, whose ids the mount maps", async () => {
      // The overlay snapshotter of 1.6 knows no mapping, and gives the container layers of strangers.
      if (scene.daemon.version.series === "1.6") return;
      const id = await scene.start(["sleep", "600"], { flags: ["--remap-labels", ...REMAPPED] });
      const script =
        "touch /made && stat -c %u /bin/busybox /made; grep ' / / ' /proc/self/mountinfo";
      const exec = ["task", "exec", "--exec-id", "e1", id, "sh", "-c", script];
      const { code, stdout } = await scene.daemon.call(exec);
      expect(code).toBe(0);
      expect(stdout).toStartWith("0\n0\n");
      // Mapped by the mount where the lower directory was seen through one, by a copy of the layers elsewhere.
      const isMapped = stdout.includes(`lowerdir=${scene.daemon.inside("state")}/`);
      expect(isMapped).toBe(scene.daemon.version.series.startsWith("2."));
      await scene.remove(id);
    });
  },
);

matrix("user namespaces, with an owner of streams", { runtimes: ["wedge"] }, (scene) => {
  test("output belongs to whom the options name", async () => {
    const file = scene.daemon.inside("owner.toml");
    writeFileSync(scene.daemon.sandbox.path(file), `IoUid = ${FIRST_ID}\nIoGid = ${FIRST_ID}\n`);
    const flags = ["--rm", "--runtime-config-path", file, ...REMAPPED];
    const script = "stat -L -c '%u %g' /proc/self/fd/1 /proc/self/fd/2; echo x >/dev/stderr";
    const run = scene.run(scene.id(), ["sh", "-c", script], { flags });
    const { code, stdout, stderr } = await scene.daemon.call(run);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "0 0\n0 0\n", stderr: "x\n" });
  });
});
