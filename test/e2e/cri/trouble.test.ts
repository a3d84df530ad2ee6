/** Pods when a part of them, or containerd itself, disappears under them. */

import { expect, test } from "bun:test";
import type { Containerd } from "../containerd.ts";
import { matrix } from "../matrix.ts";
import { poll } from "../poll.ts";
import { CriApi, refusal } from "./cri-api.ts";
import { HANDLERS } from "./handlers.ts";
import { Pod, type PodContainer } from "./pod.ts";

const cri = { handlers: HANDLERS, defaultHandler: "runc" };
const TICK = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"];

async function restart(daemon: Containerd, api: CriApi): Promise<void> {
  await daemon.kill();
  await daemon.resume();
  await api.ready();
}

/** The pid, inside, of a process whose command line is this. */
function pidOf(daemon: Containerd, commandLine: string): number {
  for (const [pid, line] of daemon.sandbox.processes()) if (line === commandLine) return pid;
  throw new Error(`No process ${commandLine}`);
}

async function lastNumber(container: PodContainer): Promise<number> {
  return Number((await container.log()).at(-1)?.text ?? 0);
}

/** The stock shim forgets exits here, and under containerd 2 leaves containers and itself behind. */
matrix("pods in trouble", { versions: "all", runtimes: ["wedge"], daemon: { cri } }, (scene) => {
  const open = () => new CriApi(scene.daemon.outside("containerd.sock"));

  test("a pod goes on over restarts of containerd, at whatever step", async () => {
    using api = open();
    await using pod = await Pod.run(api, scene.daemon, { handler: scene.kind });
    await restart(scene.daemon, api);
    const container = await pod.create({ command: TICK });
    const other = await pod.start({ command: ["sleep", "600"] });
    await restart(scene.daemon, api);
    expect((await other.exec(["echo", "here"])).stdout).toBe("here\n");
    // A container that was created and not started is forgotten by a restart, by CRI's own choice.
    expect((await container.status()).state).toBe("CONTAINER_CREATED");
    await container.start();
    await container.logged("3");
    await restart(scene.daemon, api);
    expect((await pod.status()).state).toBe("SANDBOX_READY");
    const before = await lastNumber(container);
    await poll("its log goes on", async () => (await lastNumber(container)) > before + 3);
    const numbers = (await container.log()).map(({ text }) => Number(text));
    expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
    expect(pod.shims()).toHaveLength(1);
    await other.stop(0);
    expect((await other.status()).exitCode).toBe(137);
  });

  test("a container that ends while containerd is down keeps its exit code and its last line", async () => {
    using api = open();
    await using pod = await Pod.run(api, scene.daemon, { handler: scene.kind });
    const script = "echo first; until [ -e /end ]; do sleep 0.05; done; echo last; exit 7";
    const container = await pod.start({ command: ["sh", "-c", script] });
    await container.logged("first");
    const pid = pidOf(scene.daemon, `sh -c ${script}`);
    await scene.daemon.kill();
    await Bun.write(scene.daemon.sandbox.path(`/proc/${pid}/root/end`), "");
    await poll("it has ended", () => !scene.daemon.isAlive(pid));
    await scene.daemon.resume();
    await api.ready();
    expect((await container.ended()).exitCode).toBe(7);
  });

  test("a pod whose own process dies is not ready, and its containers are left alone", async () => {
    using api = open();
    await using pod = await Pod.run(api, scene.daemon, { handler: scene.kind });
    const container = await pod.start({ command: ["sleep", "600"] });
    await scene.daemon.killInside(pidOf(scene.daemon, "/bin/sleep inf"));
    const isNotReady = async () => (await pod.status()).state === "SANDBOX_NOTREADY";
    await poll("the pod is not ready", isNotReady, { detail: () => scene.daemon.tail() });
    expect((await container.exec(["echo", "alive"])).stdout).toBe("alive\n");
    await container.stop(0);
    expect((await container.status()).exitCode).toBe(137);
  });

  test("a pod whose shim is killed ends, and the next one is as good as new", async () => {
    using api = open();
    await using pod = await Pod.run(api, scene.daemon, { handler: scene.kind });
    const container = await pod.start({ command: ["sleep", "607"] });
    const [shim = 0] = pod.shims();
    await scene.daemon.killInside(shim);
    expect((await container.ended()).exitCode).toBeGreaterThan(0);
    expect(await refusal(container.exec(["true"]))).toBe("UNKNOWN");
    await pod.remove();
    const isGone = () => ![...scene.daemon.sandbox.processes().values()].includes("sleep 607");
    await poll("its processes are gone", isGone);
    await using next = await Pod.run(api, scene.daemon, { handler: scene.kind });
    const fresh = await next.start({ command: ["sleep", "600"] });
    expect((await fresh.exec(["echo", "new"])).stdout).toBe("new\n");
  });
});
