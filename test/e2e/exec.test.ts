import { expect, test } from "bun:test";
import { matrix } from "./matrix.ts";

matrix("exec", { versions: "all" }, (scene) => {
  const exec = (id: string, execId: string, ...command: string[]) => [
    "task",
    "exec",
    "--exec-id",
    execId,
    id,
    ...command,
  ];

  test.each([
    ["true", 0],
    ["exit 7", 7],
    ["no-such-command", 127],
    ["kill -9 $$", 137],
    ["kill -15 $$", 143],
  ])("exec of `%s` ends with exit code %i", async (script, code) => {
    const id = await scene.start(["sleep", "600"]);
    const result = await scene.daemon.call(exec(id, "e1", "sh", "-c", script));
    expect(result).toMatchObject({ code });
    expect(await scene.daemon.status(id)).toBe("RUNNING");
    await scene.remove(id);
  });

  test("exec passes stdin, stdout and stderr", async () => {
    const id = await scene.start(["sleep", "600"]);
    const stdin = new TextEncoder().encode("one\ntwo\n");
    const args = exec(id, "e1", "sh", "-c", "cat; echo err >&2");
    const result = await scene.daemon.call(args, { stdin });
    expect(result).toEqual({ code: 0, stdout: "one\ntwo\n", stderr: "err\n" });
    await scene.remove(id);
  });

  test("what an exec'd process leaves behind can still write, and its output arrives", async () => {
    const id = await scene.start(["sleep", "600"]);
    const args = exec(id, "e1", "sh", "-c", "(sleep 0.5; echo late) & echo early");
    expect(await scene.daemon.call(args)).toMatchObject({ code: 0, stdout: "early\nlate\n" });
    await scene.remove(id);
  });

  test("a command that is missing fails in the runtime's words, and the id is free again", async () => {
    const id = await scene.start(["sleep", "600"]);
    const failed = await scene.daemon.call(exec(id, "e1", "no-such-program"));
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(/OCI runtime exec failed.*executable file not found/);
    await scene.daemon.call(["task", "rm", "--exec-id", "e1", id]);
    expect(await scene.daemon.call(exec(id, "e1", "echo", "again"))).toMatchObject({
      code: 0,
      stdout: "again\n",
    });
    await scene.remove(id);
  });

  test("an exec id in use is refused, and the process that has it keeps running", async () => {
    const id = await scene.start(["sleep", "600"]);
    const first = scene.daemon.open(exec(id, "e1", "sh", "-c", "echo up; sleep 600"));
    await first.waitFor(/up/);
    const second = await scene.daemon.call(exec(id, "e1", "true"));
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/already exists/);
    await scene.daemon.ctr("task", "kill", "-s", "9", "--exec-id", "e1", id);
    expect(await first.finish()).toMatchObject({ code: 137 });
    await scene.remove(id);
  });

  test("exec can have its own user and directory", async () => {
    const id = await scene.start(["sleep", "600"]);
    const args = ["task", "exec", "--exec-id", "e1", "--user", "1000:1000", "--cwd", "/tmp", id];
    const result = await scene.daemon.call([...args, "sh", "-c", "id -u; id -g; pwd"]);
    expect(result).toMatchObject({ code: 0, stdout: "1000\n1000\n/tmp\n" });
    await scene.remove(id);
  });

  test("exec in a stopped or a missing task is refused", async () => {
    const id = await scene.start(["true"]);
    await scene.daemon.waitForStatus(id, "STOPPED");
    const stopped = await scene.daemon.call(exec(id, "e1", "true"));
    expect(stopped.code).toBe(1);
    expect(stopped.stderr).toMatch(/cannot exec in a stopped|process not found|not running|is not/);
    await scene.remove(id);
    expect((await scene.daemon.call(exec(id, "e1", "true"))).stderr).toMatch(/not found/);
    // A client that is refused leaves its own FIFOs.
    await scene.daemon.removeClientFifos();
  });

  test("task ps lists init and execs by pid", async () => {
    const id = await scene.start(["sleep", "600"]);
    const client = scene.daemon.open(exec(id, "named", "sh", "-c", "echo up; exec sleep 601"));
    await client.waitFor(/up/);
    const lines = (await scene.daemon.ctr("task", "ps", id)).trim().split("\n").slice(1);
    const init = await scene.daemon.taskPid(id);
    expect(lines).toHaveLength(2);
    expect(lines.find((line) => line.startsWith(`${init} `))).toMatch(/-\s*$/);
    expect(lines.find((line) => !line.startsWith(`${init} `))).toMatch(/named/);
    await scene.daemon.ctr("task", "kill", "-s", "9", "--exec-id", "named", id);
    expect(await client.finish()).toMatchObject({ code: 137 });
    await scene.remove(id);
  });

  test("when init ends, its execs end with 137", async () => {
    const id = await scene.start(["sleep", "600"]);
    const client = scene.daemon.open(exec(id, "e1", "sh", "-c", "echo up; sleep 600"));
    await client.waitFor(/up/);
    await scene.daemon.ctr("task", "kill", "-s", "9", id);
    expect(await client.finish()).toMatchObject({ code: 137 });
    await scene.daemon.waitForStatus(id, "STOPPED");
    await scene.remove(id);
  });

  test("a detached exec runs on, and gives its exit code when removed", async () => {
    const id = await scene.start(["sleep", "600"]);
    const flags = ["task", "exec", "--exec-id", "e1", "--detach", id];
    await scene.daemon.ctr(...flags, "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; exit 9");
    expect(await scene.daemon.call(exec(id, "e2", "touch", "/go"))).toMatchObject({ code: 0 });
    const removed = async () => {
      for (;;) {
        const result = await scene.daemon.call(["task", "rm", "--exec-id", "e1", id]);
        if (!/must be stopped|running/.test(result.stderr)) return result;
      }
    };
    expect(await removed()).toMatchObject({ code: 9 });
    await scene.remove(id);
    await scene.daemon.removeClientFifos();
  });
});

matrix("exec", {}, (scene) => {
  test("what an exec leaves running, its output in hand, keeps the client no longer than the drain takes", async () => {
    const id = await scene.start(["sleep", "600"]);
    const exec = ["task", "exec", "--exec-id", "e1", id];
    expect(await scene.daemon.call([...exec, "sh", "-c", "sleep 599 & echo out"])).toMatchObject({
      code: 0,
      stdout: "out\n",
    });
    const sleepers = [...scene.daemon.sandbox.processes().values()];
    expect(sleepers.filter((line) => line === "sleep 599")).toHaveLength(1);
    await scene.remove(id);
  });
});
