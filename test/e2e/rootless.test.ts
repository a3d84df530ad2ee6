/** A containerd that an unprivileged user runs, and what its shims can do without privilege. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { containerdVersions } from "../../scripts/debian-programs.ts";
import { poll } from "./poll.ts";
import { hasCgroupV1, Rootless, rootlessObstacle } from "./rootless.ts";

setDefaultTimeout(120_000);
const obstacle = rootlessObstacle();
if (obstacle !== undefined) console.warn(`rootless: skipped, ${obstacle}`);

const SOCKETS = "/run/user/1000/containerd/s";

describe.skipIf(obstacle !== undefined)("a containerd of an unprivileged user", () => {
  let daemon: Rootless;
  let count = 0;
  const newId = () => `rootless-${++count}`;

  beforeAll(async () => {
    const [version] = containerdVersions();
    if (version === undefined) throw new Error("No containerd is installed: run npm run setup");
    daemon = await Rootless.start(version);
  });

  afterAll(async () => {
    await daemon?.[Symbol.asyncDispose]();
  });

  async function remove(id: string): Promise<void> {
    await daemon.call(["task", "rm", "--force", id]);
    await daemon.ctr("container", "rm", id);
    await poll("the shims have ended", () => daemon.shims().length === 0);
    expect(readdirSync(daemon.path(SOCKETS))).toEqual([]);
  }

  test("runs a container: streams, exit code, root in its own namespace", async () => {
    const script = "head -n 1; id -u; echo err >&2; exit 7";
    const run = daemon.run(newId(), ["--rm"], ["sh", "-c", script]);
    const result = await daemon.call(run, { stdin: Buffer.from("in\n") });
    expect(result).toEqual({ code: 7, stdout: "in\n0\n", stderr: "err\n" });
  });

  test("a terminal is a terminal", async () => {
    const terminal = daemon.terminal(
      daemon.run(newId(), ["--rm", "-t"], ["sh", "-c", "tty; id -u"]),
    );
    expect(await terminal.finish()).toBe(0);
    expect(terminal.output).toContain("/dev/pts/0\n0\n");
  });

  test("the socket is where the user may write, his alone, and the shim's score is above containerd's", async () => {
    const id = newId();
    await daemon.ctr(...daemon.run(id, ["-d"], ["sleep", "600"]));
    const address = readFileSync(`${daemon.bundle(id)}/address`, "utf8");
    expect(address).toStartWith(`unix://${SOCKETS}/`);
    const [shim = 0] = daemon.shims();
    const score = (pid: number) =>
      Number(readFileSync(daemon.sandbox.path(`/proc/${pid}/oom_score_adj`), "utf8"));
    expect(score(shim)).toBe(Math.min(score(daemon.pid) + 1, 1000));
    await remove(id);
  });

  test("without a cgroup: execs, their pids alone, no figures, a clear refusal to pause", async () => {
    const id = newId();
    await daemon.ctr(...daemon.run(id, ["-d"], ["sh", "-c", "sleep 600 & wait"]));
    const exec = ["task", "exec", "-d", "--exec-id", "e1", id, "sleep", "601"];
    await daemon.ctr(...exec);
    const pids = async () => (await daemon.ctr("task", "ps", id)).trim().split("\n").slice(1);
    await poll("three processes are listed", async () => (await pids()).length === 3);
    expect((await pids()).join("\n")).toMatch(/ExecID:e1|exec_id:"e1"/);
    const metrics = await daemon.call(["task", "metrics", id]);
    expect(metrics.stderr + metrics.stdout).not.toMatch(/usage_in_bytes +[1-9]/);
    expect((await daemon.call(["task", "pause", id])).stderr).toContain("OCI runtime pause failed");
    await daemon.ctr("task", "kill", "-s", "SIGKILL", id);
    await remove(id);
  });

  test.skipIf(!hasCgroupV1)(
    "with a cgroup of the user's: figures, and an OOM kill is told",
    async () => {
      const top = daemon.delegateCgroup();
      const id = newId();
      const events = daemon.open(["events"]);
      const flags = ["--cgroup", `${top}/${id}`, "--memory-limit", "20000000"];
      const script = "until [ -e /go ]; do sleep 0.05; done; tail /dev/zero";
      await daemon.ctr(...daemon.run(id, ["-d", ...flags], ["sh", "-c", script]));
      expect(await daemon.ctr("task", "metrics", id)).toMatch(/memory.usage_in_bytes +[1-9]/);
      await poll("events are printed", async () => {
        await daemon.ctr("images", "label", "localhost/wedge-busybox:latest", `n=${Date.now()}`);
        return events.stdout.includes("/images/update");
      });
      await daemon.ctr("task", "exec", "--exec-id", "e1", id, "touch", "/go");
      await events.waitFor(/\/tasks\/exit .*"container_id":"\S*","id":"rootless-\d+"/);
      expect(events.stdout).toMatch(/\/tasks\/oom /);
      events.kill("SIGKILL");
      await events.finish();
      await remove(id);
    },
  );
});
