/** What docker does with a container that runs: exec, signals, pause, figures, restarts, health. */

import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { dockerMatrix } from "./docker-matrix.ts";
import { poll } from "./poll.ts";

const SLEEP = ["sleep", "600"];

dockerMatrix("docker control", { isLong: true }, (scene) => {
  test("exec has streams and an exit code of its own", async () => {
    const name = await scene.start(SLEEP);
    const call = async (command: readonly string[], given: readonly string[] = []) =>
      await scene.daemon.call(["exec", ...given, name, ...command], {
        stdin: new TextEncoder().encode("in\n"),
      });
    const script = "cat; id -u; pwd; echo $WORD; echo err >&2; exit 4";
    const flags = ["-i", "--user", "1000", "--workdir", "/tmp", "--env", "WORD=word"];
    expect(await call(["sh", "-c", script], flags)).toEqual({
      code: 4,
      stdout: "in\n1000\n/tmp\nword\n",
      stderr: "err\n",
    });
    const codes = [["nope"], ["/etc/passwd"], ["sh", "-c", "kill -KILL $$"]].map(
      async (command) => (await call(command)).code,
    );
    expect(await Promise.all(codes)).toEqual([127, 126, 137]);
    await scene.remove(name);
  });

  test("exec -it is a terminal", async () => {
    const name = await scene.start(SLEEP);
    const terminal = scene.daemon.terminal(["exec", "-it", name, "sh"], { columns: 77, rows: 22 });
    await terminal.waitFor(/# /);
    terminal.type('until [ "$(stty size)" = "22 77" ]; do :; done; echo same; exit 11\n');
    await terminal.waitFor(/\nsame\n/);
    expect(await terminal.finish()).toBe(11);
    await scene.remove(name);
  });

  test("twenty execs at once each get their own output", async () => {
    const name = await scene.start(SLEEP);
    const numbers = Array.from({ length: 20 }, (_, index) => index);
    const results = numbers.map((number) =>
      scene.daemon.call(["exec", name, "sh", "-c", `echo ${number}; exit ${number}`]),
    );
    expect(await Promise.all(results)).toEqual(
      numbers.map((number) => ({ code: number, stdout: `${number}\n`, stderr: "" })),
    );
    await scene.remove(name);
  });

  test("execs end with their container", async () => {
    const name = await scene.start(SLEEP);
    const client = scene.daemon.open(["exec", name, "sh", "-c", "echo here; sleep 600"]);
    await client.waitFor(/here/);
    await scene.daemon.docker("exec", "--detach", name, ...SLEEP);
    await scene.daemon.docker("kill", name);
    expect((await client.finish()).code).toBe(137);
    const refused = await scene.daemon.call(["exec", name, "true"]);
    expect(refused.code).toBe(1);
    await scene.remove(name);
  });

  test("stop asks with the container's stop signal, and kills after the time it gives", async () => {
    const loop = "while :; do sleep 0.05; done";
    const cases: readonly [code: number, script: string, flags: string[]][] = [
      [3, `trap 'exit 3' TERM; echo ready; ${loop}`, []],
      [5, `trap 'exit 5' QUIT; echo ready; ${loop}`, ["--stop-signal", "QUIT"]],
      [6, `trap 'exit 6' 37; echo ready; ${loop}`, ["--stop-signal", "SIGRTMIN+3"]],
      [137, `trap '' TERM; echo ready; ${loop}`, ["--stop-timeout", "1"]],
    ];
    const codes = cases.map(async ([, script, flags]) => {
      const name = await scene.start(["sh", "-c", script], flags);
      await scene.daemon.open(["logs", "-f", name]).waitFor(/ready/);
      await scene.daemon.docker("stop", name);
      const { ExitCode } = await scene.daemon.state(name);
      await scene.remove(name);
      return ExitCode;
    });
    expect(await Promise.all(codes)).toEqual(cases.map(([code]) => code));
  });

  test("kill sends any signal", async () => {
    const signals: readonly [signal: string, code: number][] = [
      ["KILL", 137],
      ["SIGUSR1", 138],
      ["15", 143],
      ["SIGRTMIN+3", 165],
      ["SIGRTMAX", 192],
    ];
    const codes = signals.map(async ([signal]) => {
      // A first process of its own pid namespace would not be killed by a signal that it does not handle.
      const name = await scene.start(SLEEP, ["--pid", "host"]);
      await scene.daemon.docker("kill", "--signal", signal, name);
      const { ExitCode } = await scene.daemon.waitForStatus(name, "exited");
      await scene.remove(name);
      return ExitCode;
    });
    expect(await Promise.all(codes)).toEqual(signals.map(([, code]) => code));
  });

  test("a paused container stands still, goes on, and can be killed", async () => {
    const name = await scene.start(["sh", "-c", "while :; do echo x; sleep 0.02; done"]);
    await scene.daemon.docker("pause", name);
    expect((await scene.daemon.state(name)).Status).toBe("paused");
    expect((await scene.daemon.call(["exec", name, "true"])).code).toBe(1);
    const before = await scene.daemon.docker("logs", name);
    expect(await scene.daemon.docker("logs", name)).toBe(before);
    await scene.daemon.docker("unpause", name);
    expect((await scene.daemon.state(name)).Status).toBe("running");
    await poll("it goes on", async () => {
      return (await scene.daemon.docker("logs", name)).length > before.length;
    });
    await scene.daemon.docker("pause", name);
    await scene.daemon.docker("kill", name);
    expect(await scene.daemon.waitForStatus(name, "exited")).toMatchObject({ ExitCode: 137 });
    await scene.remove(name);
  });

  test("commit pauses it for a moment, cp goes both ways", async () => {
    const { containerd } = scene.daemon;
    const name = await scene.start(SLEEP);
    writeFileSync(containerd.outside("copied"), "content\n");
    await scene.daemon.docker("cp", containerd.inside("copied"), `${name}:/tmp/in`);
    await scene.daemon.docker("exec", name, "sh", "-c", "cat /tmp/in /tmp/in >/tmp/out");
    await scene.daemon.docker("cp", `${name}:/tmp/out`, containerd.inside(`out-${name}`));
    const copied = await Bun.file(containerd.outside(`out-${name}`)).text();
    expect(copied).toBe("content\ncontent\n");
    await scene.daemon.docker("commit", name, `image-${name}`);
    expect((await scene.daemon.state(name)).Status).toBe("running");
    expect(await scene.daemon.docker("exec", name, "cat", "/tmp/in")).toBe("content");
    await scene.remove(name);
  });

  test("top, stats and update see and set what the container has", async () => {
    const name = await scene.start(["sh", "-c", "sleep 601 & exec sleep 600"], ["--memory", "64m"]);
    await scene.daemon.docker("exec", "--detach", name, "sleep", "602");
    const processes = await scene.daemon.docker("top", name, "-eo", "pid,args");
    expect(processes.match(/sleep 60\d/g)?.sort()).toEqual(["sleep 600", "sleep 601", "sleep 602"]);
    const limits = ["--memory", "96m", "--memory-swap", "96m", "--pids-limit", "30"];
    await scene.daemon.docker("update", ...limits, "--cpus", "0.5", name);
    const format = "{{.MemUsage}}|{{.PIDs}}";
    const stats = await scene.daemon.docker("stats", "--no-stream", "--format", format, name);
    expect(stats).toMatch(/ \/ 96MiB\|3$/);
    const refused = await scene.daemon.call([
      "update",
      "--memory",
      "6m",
      "--cpuset-cpus",
      "999",
      name,
    ]);
    expect(refused.code).toBe(1);
    expect((await scene.daemon.state(name)).Status).toBe("running");
    await scene.remove(name);
  });

  test("rename, wait and restart", async () => {
    const first = await scene.start([
      "sh",
      "-c",
      "trap 'exit 21' TERM; while :; do sleep 0.05; done",
    ]);
    const name = scene.name();
    await scene.daemon.docker("rename", first, name);
    const { Pid } = await scene.daemon.state(name);
    const waiter = scene.daemon.open(["wait", name]);
    await scene.daemon.docker("restart", name);
    expect((await waiter.finish()).stdout).toBe("21\n");
    const state = await scene.daemon.state(name);
    expect(state.Status).toBe("running");
    expect(state.Pid).not.toBe(Pid);
    await scene.remove(name);
  });

  test("restart policies start it again as often as they say", async () => {
    const failing = await scene.start(
      ["sh", "-c", "echo x; exit 3"],
      ["--restart", "on-failure:2"],
    );
    const kept = await scene.start(SLEEP, ["--restart", "always"]);
    const { Pid } = await scene.daemon.state(kept);
    await scene.daemon.containerd.killInside(Pid);
    await poll("it runs again", async () => {
      const state = await scene.daemon.state(kept);
      return state.Status === "running" && state.Pid !== Pid;
    });
    expect(await scene.daemon.inspect(kept, "{{.RestartCount}}")).toBe("1");
    await scene.daemon.docker("stop", "--time", "0", kept);
    expect((await scene.daemon.state(kept)).Status).toBe("exited");
    await poll("it is given up", async () => {
      const state = await scene.daemon.inspect(failing, "{{.RestartCount}} {{.State.Status}}");
      return state === "2 exited";
    });
    expect((await scene.daemon.state(failing)).ExitCode).toBe(3);
    expect(await scene.daemon.docker("logs", failing)).toBe("x\nx\nx");
    await scene.remove(failing);
    await scene.remove(kept);
  });

  test("a container that is out of memory is shown as killed for it", async () => {
    const script = "x=x; while :; do x=$x$x; done";
    const flags = ["--memory", "16m", "--memory-swap", "16m"];
    const name = await scene.start(["sh", "-c", script], flags);
    const state = await scene.daemon.waitForStatus(name, "exited");
    expect(state).toMatchObject({ ExitCode: 137, OOMKilled: true });
    const since = await scene.daemon.inspect(name, "{{.Created}}");
    const events = await scene.daemon.docker(
      ...["events", "--since", since, "--until", new Date().toISOString()],
      ...["--filter", `container=${name}`, "--format", "{{.Action}}"],
    );
    expect(events.split("\n")).toContain("oom");
    expect(events.indexOf("oom")).toBeLessThan(events.indexOf("die"));
    await scene.remove(name);
  });

  test("health checks tell healthy from unhealthy", async () => {
    const flags = ["--health-cmd", "test -e /tmp/ok", "--health-interval", "100ms"];
    const more = ["--health-retries", "2", "--health-timeout", "30s"];
    const name = await scene.start(
      ["sh", "-c", "touch /tmp/ok; exec sleep 600"],
      [...flags, ...more],
    );
    const isHealth = async (status: string) =>
      (await scene.daemon.inspect(name, "{{.State.Health.Status}}")) === status;
    await poll("it is healthy", async () => await isHealth("healthy"));
    await scene.daemon.docker("exec", name, "rm", "/tmp/ok");
    await poll("it is unhealthy", async () => await isHealth("unhealthy"));
    await scene.remove(name);
  });

  test("events tell a container's life in order", async () => {
    const since = new Date().toISOString();
    const name = await scene.start([
      "sh",
      "-c",
      "trap 'exit 2' TERM; while :; do sleep 0.05; done",
    ]);
    await scene.daemon.docker("exec", name, "true");
    await scene.daemon.docker("pause", name);
    await scene.daemon.docker("unpause", name);
    await scene.daemon.docker("kill", "--signal", "TERM", name);
    await scene.daemon.waitForStatus(name, "exited");
    await scene.remove(name);
    const events = await scene.daemon.docker(
      ...["events", "--since", since, "--until", new Date().toISOString()],
      ...[
        "--filter",
        `container=${name}`,
        "--format",
        "{{.Action}} {{.Actor.Attributes.exitCode}}",
      ],
    );
    expect(events.split("\n").map((line) => line.replace(" <no value>", "").trimEnd())).toEqual([
      ...["create", "start", "exec_create: true", "exec_start: true", "exec_die 0"],
      ...["pause", "unpause", "kill", "die 2", "destroy"],
    ]);
  });

  test("twenty containers start and end at once", async () => {
    const numbers = Array.from({ length: 20 }, (_, index) => index + 1);
    const names = await Promise.all(
      numbers.map((number) =>
        scene.start(["sh", "-c", `sleep 0.1; echo ${number}; exit ${number}`]),
      ),
    );
    const codes = await scene.daemon.docker("wait", ...names);
    expect(codes.split("\n").map(Number)).toEqual(numbers);
    const logs = await Promise.all(names.map((name) => scene.daemon.docker("logs", name)));
    expect(logs.map(Number)).toEqual(numbers);
    await scene.daemon.docker("rm", ...names);
  });
});
