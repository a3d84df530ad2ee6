/** Pods through containerd's CRI, as the kubelet runs them: the stock shim and wedge as runtime handlers. */

import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { USER_IMAGE } from "../containerd.ts";
import { matrix, type Scene } from "../matrix.ts";
import { poll } from "../poll.ts";
import { CriApi, refusal } from "./cri-api.ts";
import { HANDLERS } from "./handlers.ts";
import { Pod, type PodOptions } from "./pod.ts";

const cri = { handlers: HANDLERS, defaultHandler: "runc" };
const SLEEP = ["sleep", "600"];
const PROBES = 12;
const PROBES_AT_ONCE = 4;
const MEBIBYTE = 2 ** 20;

function scenarios(scene: Scene): void {
  const open = () => new CriApi(scene.daemon.outside("containerd.sock"));
  const run = (api: CriApi, options: Omit<PodOptions, "handler"> = {}) =>
    Pod.run(api, scene.daemon, { ...options, handler: scene.kind });
  const descriptors = (pid: number) =>
    readdirSync(scene.daemon.sandbox.path(`/proc/${pid}/fd`)).length;

  test("the containers of a pod live in one shim, end, and are restarted", async () => {
    using api = open();
    await using pod = await run(api);
    expect(await pod.status()).toMatchObject({
      state: "SANDBOX_READY",
      runtimeHandler: scene.kind,
    });
    const created = await pod.create({ command: ["sh", "-c", "exit 3"] });
    expect((await created.status()).state).toBe("CONTAINER_CREATED");
    const user = await pod.start({ command: ["sh", "-c", "id -u; exec sleep 600"], user: 1000 });
    await user.logged("1000");
    const image = await pod.start({ command: ["sh", "-c", "id -u"], image: USER_IMAGE });
    await image.logged("1000");
    expect(await image.ended()).toMatchObject({ exitCode: 0, reason: "Completed" });
    await created.start();
    expect(await created.ended()).toMatchObject({ exitCode: 3, reason: "Error" });
    await created.remove();
    const again = await pod.start({ command: SLEEP, attempt: 1 });
    expect((await again.status()).state).toBe("CONTAINER_RUNNING");
    expect(pod.shims()).toHaveLength(1);
    await again.stop(0);
    expect(await again.status()).toMatchObject({ state: "CONTAINER_EXITED", exitCode: 137 });
    await pod.remove();
    expect((await api.call("ListPodSandbox", {})).items).toEqual([]);
  });

  test("a log file has both streams line by line, long lines in parts and the last without its end", async () => {
    using api = open();
    await using pod = await run(api);
    const script =
      "echo out; echo err >&2; head -c 20000 /dev/zero | tr '\\0' x; echo; printf tail";
    const container = await pod.start({ command: ["sh", "-c", script] });
    await container.ended();
    await container.logged("tail");
    const lines = await container.log();
    expect(lines.filter(({ stream }) => stream === "stderr")).toEqual([
      { stream: "stderr", tag: "F", text: "err" },
    ]);
    const out = lines.filter(({ stream }) => stream === "stdout");
    expect(out[0]).toEqual({ stream: "stdout", tag: "F", text: "out" });
    const long = out.slice(1, -1);
    expect(long.map(({ text }) => text).join("")).toBe("x".repeat(20_000));
    expect(long.map(({ tag }) => tag)).toEqual(["P", "F"]);
  });

  test("a log file that was rotated away is written anew", async () => {
    using api = open();
    await using pod = await run(api);
    const count = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done";
    const container = await pod.start({ command: ["sh", "-c", count] });
    await container.logged("3");
    const { logPath } = await container.status();
    const before = await container.log();
    await scene.daemon.program(["mv", logPath, `${logPath}.1`]).finish();
    await api.call("ReopenContainerLog", { containerId: container.id });
    await container.logged(String(before.length + 20));
    const old = readFileSync(scene.daemon.sandbox.path(`${logPath}.1`), "utf8");
    const texts = [
      ...old
        .trim()
        .split("\n")
        .map((line) => line.split(" ")[3]),
      ...(await container.log()).map(({ text }) => text),
    ];
    expect(texts).toEqual(texts.map((_, index) => String(index + 1)));
  });

  test("probes leave nothing in the shim", async () => {
    using api = open();
    await using pod = await run(api);
    const container = await pod.start({ command: SLEEP });
    const [shim = 0] = pod.shims();
    await container.exec(["true"]);
    const before = descriptors(shim);
    const probe = async () => {
      for (let index = 0; index < PROBES / PROBES_AT_ONCE; index++) {
        const command = ["sh", "-c", `echo ok; exit ${index % 2}`];
        const result = await container.exec(command, 30);
        expect(result).toEqual({ stdout: "ok\n", stderr: "", exitCode: index % 2 });
      }
    };
    await Promise.all(Array.from({ length: PROBES_AT_ONCE }, probe));
    expect(descriptors(shim)).toBeLessThanOrEqual(before + PROBES_AT_ONCE);
  });

  test("a probe that takes too long is ended, and what others wait for is not", async () => {
    using api = open();
    await using pod = await run(api);
    const container = await pod.start({ command: SLEEP });
    const slow = refusal(container.exec(["sleep", "601"], 1));
    expect((await container.exec(["echo", "quick"])).stdout).toBe("quick\n");
    expect(await slow).toBe("DEADLINE_EXCEEDED");
    expect((await container.exec(["ps"])).stdout).not.toContain("sleep 601");
  });

  test("a command is over when what it left behind lets go of its output", async () => {
    using api = open();
    await using pod = await run(api);
    const container = await pod.start({ command: SLEEP });
    const leaves = ["sh", "-c", "(sleep 1; echo late) & echo early; exit 4"];
    expect(await container.exec(leaves)).toMatchObject({ exitCode: 4, stdout: "early\nlate\n" });
    const detaches = ["sh", "-c", "sleep 602 >/dev/null 2>&1 & exit 5"];
    expect(await container.exec(detaches)).toMatchObject({ exitCode: 5 });
    expect((await container.exec(["ps"])).stdout).toContain("sleep 602");
  });

  test("a command that is not there, a container that is not running", async () => {
    using api = open();
    await using pod = await run(api);
    const missing = await pod.create({ command: ["/no/such/program"] });
    const failure = await missing.start().then(
      () => "started",
      (error: Error) => error.message,
    );
    expect(failure).toContain("no such file or directory");
    expect(await missing.status()).toMatchObject({ exitCode: 128, reason: "StartError" });
    const container = await pod.start({ command: ["true"] });
    await container.ended();
    expect(await refusal(container.exec(["true"]))).toBe("UNKNOWN");
  });

  test("a container ends within its grace, or is killed after it", async () => {
    using api = open();
    await using pod = await run(api);
    const trap = (script: string) => [
      "sh",
      "-c",
      `trap '${script}' TERM; echo ready; while :; do sleep 0.05; done`,
    ];
    const polite = await pod.start({ command: trap("exit 9") });
    const deaf = await pod.start({ command: trap("") });
    await Promise.all([polite.logged("ready"), deaf.logged("ready")]);
    await Promise.all([polite.stop(30), deaf.stop(1)]);
    expect((await polite.status()).exitCode).toBe(9);
    expect((await deaf.status()).exitCode).toBe(137);
  });

  test("figures and limits are those of the container's cgroup", async () => {
    using api = open();
    await using pod = await run(api);
    const spin = ["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 600"];
    const container = await pod.start({ command: spin, memoryBytes: 64 * MEBIBYTE });
    const { stats } = await api.call("ContainerStats", { containerId: container.id });
    expect(stats.attributes.id).toBe(container.id);
    expect(stats.cpu.usageCoreNanoSeconds.value).toBeGreaterThan(0);
    const list = await api.call("ListContainerStats", {});
    expect(list.stats.map(({ attributes }) => attributes.id)).toEqual([container.id]);
    // CRI leaves the pod's own process out, and the runtime's threads are counted until the last has gone.
    await poll("one process is counted", async () => {
      const { stats: all } = await api.call("PodSandboxStats", { podSandboxId: pod.id });
      return all.linux.process.processCount.value === 1;
    });
    const cgroup = join(
      "/sys/fs/cgroup/memory",
      scene.daemon.sandbox.name,
      container.id,
      "memory.limit_in_bytes",
    );
    const limit = () => Number(readFileSync(cgroup, "utf8"));
    if (existsSync(cgroup)) expect(limit()).toBe(64 * MEBIBYTE);
    await api.call("UpdateContainerResources", {
      containerId: container.id,
      linux: { memoryLimitInBytes: 48 * MEBIBYTE, cpuShares: 512 },
    });
    if (existsSync(cgroup)) expect(limit()).toBe(48 * MEBIBYTE);
  });

  test("a container that takes more memory than it may have is said to be out of memory", async () => {
    using api = open();
    await using pod = await run(api);
    // It keeps its last lines, and zeros have no line ends.
    const greedy = await pod.start({
      command: ["tail", "/dev/zero"],
      memoryBytes: 16 * MEBIBYTE,
    });
    // The stock shim may report the exit before it has heard of the kill.
    const reason = scene.kind === "runc" ? expect.any(String) : "OOMKilled";
    expect(await greedy.ended()).toMatchObject({ exitCode: 137, reason });
  });

  test("a pod of the host's namespaces leaves no process", async () => {
    using api = open();
    await using pod = await run(api, { namespaces: { network: "NODE", pid: "NODE", ipc: "NODE" } });
    const container = await pod.start({
      command: ["sh", "-c", "sleep 603 & echo there; exec sleep 604"],
    });
    await container.logged("there");
    expect((await container.exec(["ps"])).stdout).toContain("containerd");
    await container.stop(0);
    const left = [...scene.daemon.sandbox.processes().values()];
    expect(left.filter((line) => /sleep 60[34]/.test(line))).toEqual([]);
  });

  test("the containers of a pod may share its processes", async () => {
    using api = open();
    await using pod = await run(api, { namespaces: { network: "NODE", pid: "POD" } });
    const first = await pod.start({ command: ["sleep", "605"] });
    const second = await pod.start({ command: ["sleep", "606"] });
    expect((await second.exec(["ps"])).stdout).toContain("sleep 605");
    await first.stop(0);
    expect((await second.exec(["ps"])).stdout).not.toContain("sleep 605");
    expect((await second.status()).state).toBe("CONTAINER_RUNNING");
  });

  test("a pod with a network of its own has an address", async () => {
    using api = open();
    await using pod = await run(api, { namespaces: {} });
    const container = await pod.start({ command: SLEEP });
    const { network } = await pod.status();
    expect(network?.ip).toMatch(/^10\.88\.0\.\d+$/);
    const { stdout } = await container.exec(["ip", "addr"]);
    expect(stdout).toContain(`${network?.ip}/`);
  });
}

matrix("pods", { versions: "installed", runtimes: ["runc"], daemon: { cri } }, scenarios);
matrix("pods", { versions: "all", runtimes: ["wedge"], daemon: { cri } }, scenarios);
