/** Another OCI runtime, other directories, and our executable under the stock shim's name. */

import { expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { copyExecutable } from "./containerd.ts";
import { matrix, type Scene } from "./matrix.ts";
import { poll } from "./poll.ts";

/** crun refuses cgroup v1 with a cgroup v2 hierarchy beside it, which holds no controller that it needs. */
const UNIFIED = "/sys/fs/cgroup/unified";
const hybrid = existsSync(UNIFIED) ? { unmount: UNIFIED } : {};

function stateDirectories(scene: Scene, root: string): string[] {
  const directory = `${root}/${scene.daemon.namespace}`;
  return [
    ...new Bun.Glob("*").scanSync({ cwd: scene.daemon.sandbox.path(directory), onlyFiles: false }),
  ];
}

async function lifeAndExec(scene: Scene, flags: readonly string[]): Promise<void> {
  const run = scene.run(scene.id(), ["sh", "-c", "echo out; exit 3"], {
    flags: ["--rm", ...flags],
  });
  expect(await scene.daemon.call(run)).toMatchObject({ code: 3, stdout: "out\n" });
  const id = await scene.start(["sleep", "600"], { flags });
  const exec = ["task", "exec", "--exec-id", "e1", id, "sh", "-c", "echo in; exit 4"];
  expect(await scene.daemon.call(exec)).toMatchObject({ code: 4, stdout: "in\n" });
  await scene.daemon.ctr("task", "pause", id);
  expect(await scene.daemon.status(id)).toBe("PAUSED");
  await scene.daemon.ctr("task", "resume", id);
  await scene.daemon.ctr("task", "kill", "-s", "SIGTERM", "--all", id);
  await scene.daemon.ctr("task", "kill", "-s", "SIGKILL", id);
  await scene.daemon.waitForStatus(id, "STOPPED");
  expect(await scene.daemon.removeTask(id)).toBe(137);
  await scene.daemon.ctr("container", "rm", id);
  const missing = await scene.daemon.call(
    scene.run(scene.id(), ["nope"], { flags: ["--rm", ...flags] }),
  );
  expect(missing.code).toBe(1);
  expect(missing.stderr).toMatch(/executable file .*nope.* not found/);
}

function optionTests(scene: Scene): void {
  test("a runtime that is not installed is named in the error", async () => {
    const flags = ["--rm", "--runc-binary", "no-such-runtime"];
    const result = await scene.daemon.call(scene.run(scene.id(), ["true"], { flags }));
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/exec: "no-such-runtime": executable file not found in \$PATH/);
  });

  test("the runtime keeps its state where --runc-root says", async () => {
    const root = scene.daemon.inside(`runc-root-${scene.kind}`);
    const id = await scene.start(["sleep", "600"], { flags: ["--runc-root", root] });
    expect(stateDirectories(scene, root)).toEqual([id]);
    const exec = ["task", "exec", "--exec-id", "e1", id, "sh", "-c", "exit 6"];
    expect((await scene.daemon.call(exec)).code).toBe(6);
    await scene.remove(id);
    expect(stateDirectories(scene, root)).toEqual([]);
  });
}

matrix("runtime options", { versions: "all", runtimes: ["runc"], daemon: hybrid }, optionTests);

matrix(
  "runtime options, as a drop-in for the stock shim",
  { versions: "all", runtimes: ["wedge"], daemon: { ...hybrid, dropIn: true } },
  (scene) => {
    optionTests(scene);

    test("a shim that is killed is cleaned up in the runtime's state too (the stock shim of 1.6 leaves it)", async () => {
      const root = scene.daemon.inside("runc-root");
      const id = await scene.start(["sleep", "600"], { flags: ["--runc-root", root] });
      const [shim = 0] = scene.daemon.shims();
      await scene.daemon.killInside(shim);
      await poll("its task is gone", async () => (await scene.daemon.status(id)) !== "RUNNING");
      await scene.remove(id);
      await scene.daemon.removeClientFifos();
      await poll("its state is gone", () => stateDirectories(scene, root).length === 0);
    });
  },
);

matrix(
  "runtime options in a file",
  { versions: "all", runtimes: ["wedge"], daemon: hybrid },
  (scene) => {
    test("a file that is no TOML fails the container and is named", async () => {
      const path = scene.daemon.inside("broken.toml");
      writeFileSync(scene.daemon.sandbox.path(path), "BinaryName = \n");
      const flags = ["--rm", "--runtime-config-path", path];
      const result = await scene.daemon.call(scene.run(scene.id(), ["true"], { flags }));
      expect(result.code).toBe(1);
      expect(result.stderr).toContain(path);
    });

    test("the executable alone, by its path, is a runtime", async () => {
      const path = copyExecutable(scene.daemon, "bin/elsewhere");
      const args = ["run", "--runtime", path, "--rm", "localhost/wedge-busybox:latest", scene.id()];
      expect((await scene.daemon.call([...args, "sh", "-c", "exit 8"])).code).toBe(8);
    });
  },
);

// Only with the containerd that its own release has: crun refuses the specs of newer ones.
matrix("crun", { runtimes: ["runc"], daemon: hybrid }, (scene) => {
  test("runs a container's whole life", async () => {
    await lifeAndExec(scene, ["--runc-binary", "crun"]);
  });
});

matrix(
  "crun, with a drop-in for the stock shim",
  { runtimes: ["wedge"], daemon: { ...hybrid, dropIn: true } },
  (scene) => {
    test("runs a container's whole life", async () => {
      await lifeAndExec(scene, ["--runc-binary", "crun"]);
    });
  },
);

matrix("crun", { runtimes: ["wedge"], daemon: hybrid }, (scene) => {
  test("runs a container's whole life, named in a file (the stock shim knows no such options)", async () => {
    const path = scene.daemon.inside("crun.toml");
    writeFileSync(scene.daemon.sandbox.path(path), 'BinaryName = "crun"\n');
    await lifeAndExec(scene, ["--runtime-config-path", path]);
  });
});
