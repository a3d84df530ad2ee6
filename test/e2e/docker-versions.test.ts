/**
 * Docker of every release, with wedge as the stock shim, by its name, and by entries of daemon.json.
 * A short list: what the newest Docker does with a shim is in the other files.
 */

import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { dockerMatrix } from "./docker-matrix.ts";

const SLEEP = ["sleep", "600"];

dockerMatrix(
  "every docker",
  { versions: "all", runtimes: ["drop-in"], daemon: { liveRestore: true } },
  (scene) => {
    test("streams and exit codes are the program's, on the bridge", async () => {
      const script = "cat; echo err >&2; ls /sys/class/net; exit 7";
      const result = await scene.run(["sh", "-c", script], ["-i", "--network", "bridge"], {
        stdin: new TextEncoder().encode("in\n"),
      });
      expect(result).toEqual({ code: 7, stdout: "in\neth0\nlo\n", stderr: "err\n" });
      const codes = [["nope"], ["/etc"]].map(async (command) => (await scene.run(command)).code);
      expect(await Promise.all(codes)).toEqual([127, 126]);
    });

    test("a terminal is a terminal", async () => {
      const terminal = scene.terminal(["sh"], ["--init"], { columns: 91, rows: 31 });
      await terminal.waitFor(/# /);
      terminal.type('until [ "$(stty size)" = "31 91" ]; do :; done; echo same; exit 9\n');
      await terminal.waitFor(/\nsame\n/);
      expect(await terminal.finish()).toBe(9);
    });

    test("exec, pause, update, stop", async () => {
      const script = "trap 'echo bye; exit 3' TERM; while :; do sleep 0.05; done";
      const name = await scene.start(["sh", "-c", script], ["--memory", "64m"]);
      const exec = ["exec", name, "sh", "-c", "echo in; exit 4"];
      expect(await scene.daemon.call(exec)).toMatchObject({ code: 4, stdout: "in\n" });
      await scene.daemon.docker("pause", name);
      expect((await scene.daemon.state(name)).Status).toBe("paused");
      await scene.daemon.docker("unpause", name);
      await scene.daemon.docker("update", "--memory", "96m", "--memory-swap", "96m", name);
      const stats = ["stats", "--no-stream", "--format", "{{.MemUsage}}", name];
      expect(await scene.daemon.docker(...stats)).toEndWith(" / 96MiB");
      await scene.daemon.docker("stop", name);
      expect((await scene.daemon.state(name)).ExitCode).toBe(3);
      expect(await scene.daemon.docker("logs", name)).toBe("bye");
      await scene.remove(name);
    });

    test("memory that runs out is told", async () => {
      const flags = ["--memory", "16m", "--memory-swap", "16m"];
      const name = await scene.start(["sh", "-c", "x=x; while :; do x=$x$x; done"], flags);
      const state = await scene.daemon.waitForStatus(name, "exited");
      expect(state).toMatchObject({ ExitCode: 137, OOMKilled: true });
      await scene.remove(name);
    });

    test("containers outlive dockerd", async () => {
      const name = await scene.start(SLEEP);
      const { Pid } = await scene.daemon.state(name);
      await scene.daemon.end("SIGKILL");
      await scene.daemon.resume();
      expect(await scene.daemon.state(name)).toMatchObject({ Status: "running", Pid });
      await scene.daemon.docker("kill", name);
      expect(await scene.daemon.waitForStatus(name, "exited")).toMatchObject({ ExitCode: 137 });
      await scene.remove(name);
    });
  },
);

dockerMatrix("every docker that takes names", { versions: "all", runtimes: ["wedge"] }, (scene) => {
  test("the shim's name is a runtime", async () => {
    const result = await scene.run(["sh", "-c", "echo out; exit 7"]);
    expect(result).toEqual({ code: 7, stdout: "out\n", stderr: "" });
  });

  test.each(["named", "by-path", "with-options"])(
    "entry %s of daemon.json is wedge",
    async (entry) => {
      const name = await scene.start(SLEEP, ["--runtime", entry]);
      const { containerd } = scene.daemon;
      const commandLines = [...containerd.sandbox.processes().values()];
      expect(
        commandLines.filter((line) => /containerd-shim-wedge-v2 -namespace/.test(line)),
      ).toHaveLength(1);
      const id = await scene.daemon.inspect(name, "{{.Id}}");
      const root = entry === "with-options" ? scene.daemon.optionsRoot : "/run/containerd/runc";
      const states = containerd.sandbox.path(`${root}/${containerd.namespace}`);
      expect(readdirSync(states)).toEqual([id]);
      expect(await scene.daemon.docker("exec", name, "echo", "in")).toBe("in");
      await scene.remove(name);
      expect(existsSync(`${states}/${id}`)).toBe(false);
    },
  );
});
