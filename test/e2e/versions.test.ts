/** Other releases of containerd take over from one another, up and down, while containers run: nothing dies. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { type ContainerdVersion, containerdVersions } from "../../scripts/debian-programs.ts";
import { Containerd, IMAGE } from "./containerd.ts";
import { CriApi } from "./cri/cri-api.ts";
import { HANDLERS } from "./cri/handlers.ts";
import { Pod, type PodContainer } from "./cri/pod.ts";
import { expectNothingLeft, snapshot } from "./leaks.ts";
import { LONG_LIMIT_MS } from "./matrix.ts";

const RUNTIME = "io.containerd.wedge.v2";

setDefaultTimeout(LONG_LIMIT_MS);

/** Up through all releases that can be had, and down again. */
function path(): readonly ContainerdVersion[] {
  const versions = containerdVersions();
  return [...versions, ...versions.slice(0, -1).reverse()];
}

test("tasks keep their processes, and are served by whichever release runs", async () => {
  const [first, ...others] = path();
  if (first === undefined) throw new Error("No containerd is installed: run npm run setup");
  if (others.length === 0) console.warn("only one containerd: see scripts/debian-programs.ts");
  await using daemon = await Containerd.start({ version: first });
  const before = snapshot(daemon);
  const pids = new Map<string, number | undefined>();
  const start = async () => {
    const id = `task-${pids.size}`;
    const script = "trap 'exit 9' TERM; while :; do sleep 0.1; done";
    const command = [IMAGE, id, "sh", "-c", script];
    await daemon.ctr("run", "-d", "--runtime", RUNTIME, ...command);
    pids.set(id, await daemon.taskPid(id));
  };
  await start();
  for (const version of others) {
    await daemon.replace(version);
    for (const [id, pid] of pids) {
      expect(await daemon.status(id)).toBe("RUNNING");
      expect(await daemon.taskPid(id)).toBe(pid);
      const exec = ["task", "exec", "--exec-id", `in-${version.series}`, id];
      const result = await daemon.call([...exec, "sh", "-c", "echo served; exit 3"]);
      expect(result).toMatchObject({ code: 3, stdout: "served\n" });
    }
    await start();
  }
  expect(daemon.shims()).toHaveLength(pids.size);
  for (const id of pids.keys()) {
    await daemon.ctr("task", "kill", "-s", "SIGTERM", id);
    await daemon.waitForStatus(id, "STOPPED");
    expect(await daemon.removeTask(id)).toBe(9);
    await daemon.ctr("container", "rm", id);
  }
  await expectNothingLeft(daemon, before);
});

test("pods and their containers are CRI's under each release", async () => {
  const [first, ...others] = path();
  if (first === undefined) throw new Error("No containerd is installed: run npm run setup");
  const cri = { handlers: HANDLERS, defaultHandler: "wedge" };
  await using daemon = await Containerd.start({ version: first, cri });
  using api = new CriApi(daemon.outside("containerd.sock"));
  await api.ready();
  const before = snapshot(daemon);
  const pods: Pod[] = [];
  const containers: PodContainer[] = [];
  const start = async () => {
    const pod = await Pod.run(api, daemon, { handler: "" });
    pods.push(pod);
    containers.push(await pod.start({ command: ["sleep", "600"] }));
  };
  await start();
  for (const version of others) {
    await daemon.replace(version);
    await api.ready();
    for (const pod of pods) expect((await pod.status()).state).toBe("SANDBOX_READY");
    for (const container of containers) {
      expect((await container.status()).state, version.series).toBe("CONTAINER_RUNNING");
      expect((await container.exec(["echo", version.series])).stdout).toBe(`${version.series}\n`);
    }
    await start();
  }
  for (const container of containers) {
    await container.stop(0);
    expect((await container.status()).exitCode).toBe(137);
  }
  for (const pod of pods) await pod.remove();
  await expectNothingLeft(daemon, before);
});
