import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { IMAGE } from "./containerd.ts";
import { matrix } from "./matrix.ts";
import { poll } from "./poll.ts";

matrix("lifecycle", { versions: "all" }, (scene) => {
  test.each([
    ["true", 0],
    ["exit 7", 7],
    ["no-such-command", 127],
    ["sh -c 'kill -9 $$'; exit $?", 137],
  ])("run --rm of `%s` ends with exit code %i", async (script, code) => {
    const args = scene.run(scene.id(), ["sh", "-c", script], { flags: ["--rm"] });
    expect(await scene.daemon.call(args)).toMatchObject({ code });
  });

  test("run --rm passes output of both streams on", async () => {
    const script = "echo out; echo err >&2; printf tail";
    const args = scene.run(scene.id(), ["sh", "-c", script], { flags: ["--rm"] });
    const { code, stdout, stderr } = await scene.daemon.call(args);
    expect(code).toBe(0);
    // The stock shim reports the exit at once, and ctr then reads no further.
    const whole = scene.kind === "runc" ? [stdout, stderr] : ["out\ntail", "err\n"];
    expect([stdout, stderr]).toEqual(whole);
    expect("out\ntail").toStartWith(stdout);
    expect("err\n").toStartWith(stderr);
  });

  test("a killed container ends with 128 + signal", async () => {
    const id = scene.id();
    const client = scene.daemon.open(
      scene.run(id, ["sh", "-c", "echo up; sleep 600"], { flags: ["--rm"] }),
    );
    await client.waitFor(/up/);
    await scene.daemon.ctr("task", "kill", "-s", "SIGKILL", id);
    expect(await client.finish()).toMatchObject({ code: 137 });
  });

  test.each([
    ["/no/such/program", /no such file or directory/],
    ["no-such-program", /executable file not found/],
    ["/etc/passwd", /permission denied/],
  ])("a command %s that cannot be run fails in the runtime's words", async (command, words) => {
    const result = await scene.daemon.call(scene.run(scene.id(), [command], { flags: ["--rm"] }));
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toMatch(words);
    expect(result.stderr).toMatch(/OCI runtime create failed/);
  });

  test("a mount whose source is missing fails the container and names the source", async () => {
    const flags = ["--rm", "--mount", "type=bind,src=/no/such/source,dst=/x,options=rbind"];
    const result = await scene.daemon.call(scene.run(scene.id(), ["true"], { flags }));
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/\/no\/such\/source/);
  });

  test("run -d leaves a task that runs, stops when killed, and gives its exit code when removed", async () => {
    const id = await scene.start(["sleep", "600"]);
    expect(await scene.daemon.status(id)).toBe("RUNNING");
    const pid = await scene.daemon.taskPid(id);
    expect(pid === undefined ? false : scene.daemon.isAlive(pid)).toBe(true);
    await scene.daemon.ctr("task", "kill", "-s", "9", id);
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(137);
    expect(await scene.daemon.status(id)).toBe(undefined);
    await scene.daemon.ctr("container", "rm", id);
  });

  test("a stopped task can be removed and started again", async () => {
    const id = await scene.start(["sh", "-c", "exit 3"]);
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(3);
    expect(await scene.daemon.call(["task", "start", id])).toMatchObject({ code: 3 });
    await scene.daemon.ctr("container", "rm", id);
  });

  test("a running task is not removed without force, and keeps running", async () => {
    const id = await scene.start(["sleep", "600"]);
    const result = await scene.daemon.call(["task", "rm", id]);
    expect(result.code).not.toBe(0);
    expect(result.stderr).toMatch(/must be stopped before deletion/);
    expect(await scene.daemon.status(id)).toBe("RUNNING");
    await scene.remove(id);
  });

  test("the root file system is the snapshot's overlay, and can be written", async () => {
    const script = "grep ' / ' /proc/mounts | cut -d ' ' -f 3; echo kept > /x; cat /x";
    const args = scene.run(scene.id(), ["sh", "-c", script], { flags: ["--rm"] });
    expect(await scene.daemon.call(args)).toMatchObject({ code: 0, stdout: "overlay\nkept\n" });
  });

  test("--read-only and bind mounts hold", async () => {
    const shared = scene.daemon.inside("tmp", scene.id());
    mkdirSync(scene.daemon.sandbox.path(shared));
    const flags = ["--rm", "--read-only", "--mount"];
    flags.push(`type=bind,src=${shared},dst=/mnt,options=rbind:rw`);
    const args = scene.run(scene.id(), ["sh", "-c", "touch /x; echo in > /mnt/file"], { flags });
    args.splice(args.indexOf(IMAGE), 0, "--cwd", "/");
    const result = await scene.daemon.call(args);
    expect(result.stderr).toMatch(/Read-only file system/);
    expect(readFileSync(scene.daemon.sandbox.path(`${shared}/file`), "utf8")).toBe("in\n");
    await Bun.$`rm -r ${scene.daemon.sandbox.path(shared)}`;
  });

  test("--rootfs runs a directory that no snapshotter manages", async () => {
    const root = scene.daemon.inside(`rootfs-${scene.kind}`);
    const outside = scene.daemon.sandbox.path(root);
    for (const name of ["bin", "proc", "dev", "sys", "etc"]) {
      mkdirSync(`${outside}/${name}`, { recursive: true });
    }
    await Bun.$`cp ${Bun.which("busybox")} ${outside}/bin/busybox`;
    symlinkSync("busybox", `${outside}/bin/sh`);
    writeFileSync(`${outside}/mark`, "here");
    const args = scene.run(scene.id(), ["/bin/sh", "-c", "read x < /mark; echo $x; exit 5"], {
      flags: ["--rm", "--rootfs"],
      image: root,
    });
    expect(await scene.daemon.call(args)).toMatchObject({ code: 5, stdout: "here\n" });
  });

  test("in a shared pid namespace the end of init ends what it left behind", async () => {
    const flags = ["--with-ns", "pid:/proc/1/ns/pid"];
    const script = "sleep 4321 & sleep 4321 & sleep 0.2; exit 4";
    const id = await scene.start(["sh", "-c", script], { flags });
    const left = () =>
      [...scene.daemon.sandbox.processes().values()].filter((line) => line === "sleep 4321");
    await poll("children are gone", () => left().length === 0);
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(4);
    await scene.daemon.ctr("container", "rm", id);
  });
});
