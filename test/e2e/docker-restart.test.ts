/** dockerd and containerd end and come back; containers stay, and docker learns everything that happened meanwhile. */

import { expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { type DockerScene, dockerMatrix } from "./docker-matrix.ts";
import { poll } from "./poll.ts";

const SLEEP = ["sleep", "600"];
/** Prints numbered lines, a group for each file that is made, and ends with 5 when told to. */
const COUNT = `
  i=0
  for step in 1 2 3; do
    until [ -e /step$step ]; do sleep 0.02; done
    n=0; while [ $n -lt 200 ]; do i=$((i + 1)); n=$((n + 1)); echo "line $i"; done
    touch /done$step
  done
  until [ -e /end ]; do sleep 0.02; done
  exit 5`;

/** Makes a file in a container's root without the help of a daemon, and waits for another. */
async function step(scene: DockerScene, pid: number, number: number): Promise<void> {
  touch(scene, pid, `/step${number}`);
  const done = scene.daemon.containerd.sandbox.path(`/proc/${pid}/root/done${number}`);
  await poll(`step ${number} is done`, () => existsSync(done));
}

/** Lets a container that counts go through to its end. */
async function finish(scene: DockerScene, pid: number): Promise<void> {
  for (const number of [1, 2, 3]) await step(scene, pid, number);
  touch(scene, pid, "/end");
  await poll("it has ended", () => !scene.daemon.containerd.isAlive(pid));
}

function touch(scene: DockerScene, pid: number, path: string): void {
  writeFileSync(scene.daemon.containerd.sandbox.path(`/proc/${pid}/root${path}`), "");
}

async function pidOf(scene: DockerScene, name: string): Promise<number> {
  return (await scene.daemon.state(name)).Pid;
}

function lines(count: number): string {
  return Array.from({ length: count }, (_, index) => `line ${index + 1}`).join("\n");
}

dockerMatrix("live restore", { isLong: true, daemon: { liveRestore: true } }, (scene) => {
  test.each(["SIGTERM", "SIGKILL"] as const)(
    "a container runs on when dockerd ends by %s, and loses no line",
    async (signal) => {
      const name = await scene.start(["sh", "-c", COUNT]);
      const pid = await pidOf(scene, name);
      await step(scene, pid, 1);
      const isLogged = async () => (await scene.daemon.docker("logs", name)) === lines(200);
      // What dockerd has read and not written down ends with it.
      await poll("all lines are logged", isLogged);
      await scene.daemon.end(signal);
      await step(scene, pid, 2);
      await scene.daemon.resume();
      expect(await scene.daemon.state(name)).toMatchObject({ Status: "running", Pid: pid });
      await step(scene, pid, 3);
      expect(await scene.daemon.docker("exec", name, "echo", "in")).toBe("in");
      touch(scene, pid, "/end");
      expect(await scene.daemon.docker("wait", name)).toBe("5");
      expect(await scene.daemon.docker("logs", name)).toBe(lines(600));
      await scene.remove(name);
    },
  );

  test("a container that ends while dockerd is down keeps its exit code, or is restarted as its policy says", async () => {
    const ended = await scene.start(["sh", "-c", COUNT]);
    const again = await scene.start(SLEEP, ["--restart", "always"]);
    const [endedPid, againPid] = [await pidOf(scene, ended), await pidOf(scene, again)];
    await scene.daemon.end("SIGKILL");
    await finish(scene, endedPid);
    await scene.daemon.containerd.killInside(againPid);
    await scene.daemon.resume();
    expect(await scene.daemon.waitForStatus(ended, "exited")).toMatchObject({ ExitCode: 5 });
    expect(await scene.daemon.waitForStatus(again, "running")).not.toMatchObject({ Pid: againPid });
    await scene.remove(ended);
    await scene.remove(again);
  });

  test("a terminal is as it was", async () => {
    const name = scene.name();
    await scene.daemon.docker(...scene.args(["sh"], ["-dit", "--name", name]));
    await scene.daemon.end("SIGKILL");
    await scene.daemon.resume();
    const terminal = scene.daemon.terminal(["attach", name]);
    terminal.type("echo word-$((1 + 1)); exit 12\n");
    await terminal.waitFor(/word-2\n/);
    expect(await terminal.finish()).toBe(12);
    await scene.remove(name);
  });

  test("a container runs on when containerd is killed, and docker goes on with it", async () => {
    const name = await scene.start(["sh", "-c", COUNT]);
    const pid = await pidOf(scene, name);
    await scene.daemon.containerd.kill();
    await step(scene, pid, 1);
    await scene.daemon.containerd.resume();
    await poll("docker reaches containerd", async () => {
      return (await scene.daemon.call(["exec", name, "true"])).code === 0;
    });
    for (const number of [2, 3]) await step(scene, pid, number);
    touch(scene, pid, "/end");
    expect(await scene.daemon.waitForStatus(name, "exited")).toMatchObject({ ExitCode: 5 });
    expect(await scene.daemon.docker("logs", name)).toBe(lines(600));
    await scene.remove(name);
  });

  test("both daemons can be killed", async () => {
    const name = await scene.start(["sh", "-c", COUNT]);
    const pid = await pidOf(scene, name);
    await scene.daemon.end("SIGKILL");
    await scene.daemon.containerd.kill();
    await step(scene, pid, 1);
    await scene.daemon.ensureServing();
    expect(await scene.daemon.state(name)).toMatchObject({ Status: "running", Pid: pid });
    for (const number of [2, 3]) await step(scene, pid, number);
    touch(scene, pid, "/end");
    expect(await scene.daemon.waitForStatus(name, "exited")).toMatchObject({ ExitCode: 5 });
    expect(await scene.daemon.docker("logs", name)).toBe(lines(600));
    await scene.remove(name);
  });

  test("a shim that is killed takes its container with it, and the restart policy brings a new one", async () => {
    const name = await scene.start(SLEEP, ["--restart", "always"]);
    const pid = await pidOf(scene, name);
    const [shim = 0] = scene.daemon.containerd.shims();
    await scene.daemon.containerd.killInside(shim);
    await poll("the container is gone", () => !scene.daemon.containerd.isAlive(pid));
    await poll("it runs again", async () => {
      const state = await scene.daemon.state(name);
      return state.Status === "running" && state.Pid !== pid;
    });
    await scene.remove(name);
    if (scene.kind === "runc") await scene.daemon.containerd.removeShimSockets();
  });

  if (scene.kind === "runc") return;

  test("what a container writes before it ends while dockerd is down is logged after (the stock shim loses it)", async () => {
    const name = await scene.start(["sh", "-c", COUNT]);
    const pid = await pidOf(scene, name);
    await scene.daemon.end("SIGKILL");
    await finish(scene, pid);
    await scene.daemon.resume();
    await scene.daemon.waitForStatus(name, "exited");
    // dockerd learns of the exit before it has opened the streams.
    const isLogged = async () => (await scene.daemon.docker("logs", name)) === lines(600);
    await poll("all lines are logged", isLogged);
    await scene.remove(name);
  });

  test("docker is told of a container that ends while containerd is down (with the stock shim it is up for ever)", async () => {
    const name = await scene.start(["sh", "-c", COUNT]);
    const pid = await pidOf(scene, name);
    await scene.daemon.containerd.kill();
    await finish(scene, pid);
    await scene.daemon.containerd.resume();
    expect(await scene.daemon.waitForStatus(name, "exited")).toMatchObject({ ExitCode: 5 });
    expect(await scene.daemon.docker("logs", name)).toBe(lines(600));
    await scene.remove(name);
  });

  test("a container that ends while both daemons are down keeps its exit code", async () => {
    const name = await scene.start(["sh", "-c", COUNT]);
    const pid = await pidOf(scene, name);
    await scene.daemon.end("SIGKILL");
    await scene.daemon.containerd.kill();
    await finish(scene, pid);
    await scene.daemon.ensureServing();
    expect(await scene.daemon.waitForStatus(name, "exited")).toMatchObject({ ExitCode: 5 });
    await scene.remove(name);
  });
});

dockerMatrix("restart without live restore", { isLong: true }, (scene) => {
  test("dockerd stops its containers, and starts again those that are to run always", async () => {
    const script = "trap 'echo stopped; exit 3' TERM; echo started; while :; do sleep 0.05; done";
    const always = await scene.start(["sh", "-c", script], ["--restart", "always"]);
    const once = await scene.start(["sh", "-c", script]);
    for (const name of [always, once]) {
      await scene.daemon.open(["logs", "-f", name]).waitFor(/started/);
    }
    await scene.daemon.end("SIGTERM");
    expect(scene.daemon.containerd.shims()).toEqual([]);
    await scene.daemon.resume();
    expect(await scene.daemon.state(once)).toMatchObject({ Status: "exited", ExitCode: 3 });
    expect(await scene.daemon.docker("logs", once)).toBe("started\nstopped");
    await scene.daemon.waitForStatus(always, "running");
    await scene.daemon.open(["logs", "-f", always]).waitFor(/started\nstopped\nstarted/);
    await scene.remove(always);
    await scene.remove(once);
  });
});

dockerMatrix(
  "a containerd of dockerd's own",
  { runtimes: ["wedge"], daemon: { liveRestore: true, startsContainerd: true } },
  (scene) => {
    test("a container runs on when dockerd is killed", async () => {
      const name = await scene.start(["sh", "-c", COUNT]);
      const pid = await pidOf(scene, name);
      await step(scene, pid, 1);
      await scene.daemon.end("SIGKILL");
      await step(scene, pid, 2);
      await scene.daemon.resume();
      expect(await scene.daemon.docker("exec", name, "echo", "in")).toBe("in");
      await step(scene, pid, 3);
      touch(scene, pid, "/end");
      expect(await scene.daemon.waitForStatus(name, "exited")).toMatchObject({ ExitCode: 5 });
      expect(await scene.daemon.docker("logs", name)).toBe(lines(600));
      await scene.remove(name);
    });

    test("what happens while both are stopped is told after", async () => {
      const name = await scene.start(["sh", "-c", COUNT]);
      const kept = await scene.start(SLEEP);
      const pids = [await pidOf(scene, name), await pidOf(scene, kept)] as const;
      await scene.daemon.end("SIGTERM");
      await finish(scene, pids[0]);
      await scene.daemon.resume();
      expect(await scene.daemon.waitForStatus(name, "exited")).toMatchObject({ ExitCode: 5 });
      expect(await scene.daemon.docker("logs", name)).toBe(lines(600));
      expect(await scene.daemon.state(kept)).toMatchObject({ Status: "running", Pid: pids[1] });
      await scene.remove(name);
      await scene.remove(kept);
    });
  },
);
