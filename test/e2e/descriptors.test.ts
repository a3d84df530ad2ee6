/** What a process in a container has open: its three streams, and nothing of ours or of the runtime's. */

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { matrix, type Scene } from "./matrix.ts";
import { poll } from "./poll.ts";

/** The descriptors of the process with this command line, which exists or is about to. */
async function descriptorsOf(scene: Scene, commandLine: string): Promise<readonly string[]> {
  const { sandbox } = scene.daemon;
  const find = () => [...sandbox.processes()].find(([, line]) => line === commandLine)?.[0];
  await poll(`"${commandLine}" runs`, () => find() !== undefined);
  return readdirSync(sandbox.path(`/proc/${find()}/fd`)).sort();
}

matrix("descriptors", {}, (scene) => {
  test.each([
    ["streams", ["-d"], "601"],
    ["a terminal", ["-d", "-t"], "602"],
  ])("a container's first process with %s has three", async (_, flags, seconds) => {
    const id = scene.id();
    await scene.daemon.terminal(scene.run(id, ["sleep", seconds], { flags })).finish();
    expect(await descriptorsOf(scene, `sleep ${seconds}`)).toEqual(["0", "1", "2"]);
    await scene.remove(id);
  });

  test("so has what an exec adds", async () => {
    const id = await scene.start(["sleep", "603"]);
    const exec = scene.daemon.open(["task", "exec", "--exec-id", "e1", id, "sleep", "604"]);
    expect(await descriptorsOf(scene, "sleep 604")).toEqual(["0", "1", "2"]);
    await scene.remove(id);
    await exec.finish();
    await scene.daemon.removeClientFifos();
  });
});
