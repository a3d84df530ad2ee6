/** A running shim exchanges its program, and nobody who depends on it can tell. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TaskExit } from "../../src/gen/containerd/events/task.ts";
import { buildExecutable, executable, project } from "../compiled.ts";
import { buildVariant } from "../soak/variant.ts";
import { descriptorsOf, drain, FifoWriter, fifo, LiveShim, until } from "./live-shim.ts";

const TIMEOUT_MS = 120_000;
/** Without one there is no sleeper in what is built. */
const hasCompiler = Bun.which("cc") !== null;
const directory = mkdtempSync(join(tmpdir(), "wedge-handoff-"));

beforeAll(buildExecutable, TIMEOUT_MS);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function topics(shim: LiveShim): readonly string[] {
  return shim.events.map(({ topic }) => topic.slice("/tasks/".length));
}

describe("an upgrade", () => {
  test(
    "keeps process, container, open Waits, descriptors and the order of events",
    async () => {
      await using shim = await LiveShim.start();
      using bundle = shim.bundle({ script: "sleep 1000" });
      const { id } = bundle;
      const pid = await shim.create(bundle);
      await shim.task.start({ id, execId: "" });
      const execPid = await shim.exec(id, "e", ["sh", "-c", "sleep 1000"]);
      const waits = [shim.task.wait({ id, execId: "" }), shim.task.wait({ id, execId: "e" })];
      const before = descriptorsOf(shim.pid).size;
      for (let round = 0; round < 3; round++) {
        const answer = await shim.handoff.upgrade({ binary: "" });
        expect(answer.version).not.toBe("");
        expect((await shim.task.connect({ id })).shimPid).toBe(shim.pid);
        expect(await shim.task.state({ id, execId: "e" })).toMatchObject({ pid: execPid });
      }
      // The engine lends a duplicate of its epoll instance now and then.
      expect(Math.abs(descriptorsOf(shim.pid).size - before)).toBeLessThanOrEqual(1);
      expect(await shim.task.state({ id, execId: "" })).toMatchObject({ pid, id });
      await shim.task.kill({ id, execId: "e", signal: 15, all: false });
      expect((await waits[1])?.exitStatus).toBe(143);
      await shim.task.delete({ id, execId: "e" });
      const command = [join(project, "dist/shim"), "upgrade", String(shim.pid), "--json"];
      const upgraded = Bun.spawn([...command, "--binary", executable], { stderr: "inherit" });
      expect(JSON.parse(await new Response(upgraded.stdout).text())).toMatchObject([
        { namespace: "live", id: "first", shimPid: shim.pid },
      ]);
      await shim.task.kill({ id, execId: "", signal: 9, all: false });
      expect((await waits[0])?.exitStatus).toBe(137);
      await shim.task.delete({ id, execId: "" });
      await until("all events are there", () => topics(shim).includes("delete"));
      expect(topics(shim)).toEqual([
        "create",
        "start",
        "exec-added",
        "exec-started",
        "exit",
        "exit",
        "delete",
      ]);
      const [exec, init] = shim.events
        .filter(({ topic }) => topic === "/tasks/exit")
        .map(({ value }) => TaskExit.decode(value));
      expect([exec?.pid, init?.pid]).toEqual([execPid, pid]);
    },
    TIMEOUT_MS,
  );

  test(
    "is carried out for each of several who ask for it at once",
    async () => {
      await using shim = await LiveShim.start();
      using bundle = shim.bundle({ script: "sleep 1000" });
      await shim.create(bundle);
      const command = [join(project, "dist/shim"), "upgrade", String(shim.pid), "--json"];
      const asked = Array.from({ length: 3 }, () => Bun.spawn(command, { stderr: "inherit" }));
      expect(await Promise.all(asked.map(({ exited }) => exited))).toEqual([0, 0, 0]);
      await shim.remove(bundle.id);
    },
    TIMEOUT_MS,
  );

  test(
    "loses no byte of output, of input and of a terminal",
    async () => {
      await using shim = await LiveShim.start();
      using talker = shim.bundle({ script: "for i in $(seq 60); do seq 500; sleep 0.02; done" });
      using echo = shim.bundle({ script: "cat; echo end" });
      using terminal = shim.bundle({ script: "stty raw -echo; echo ready; cat", terminal: true });
      const talkerOut = fifo(shim, "talker-out");
      const talked = drain(talkerOut);
      await shim.create(talker, { stdout: talkerOut });
      const echoIn = fifo(shim, "echo-in");
      const echoOut = fifo(shim, "echo-out");
      const echoed = drain(echoOut);
      await shim.create(echo, { stdin: echoIn, stdout: echoOut });
      const typeIn = fifo(shim, "type-in");
      const typeOut = fifo(shim, "type-out");
      const typed = drain(typeOut);
      await shim.create(terminal, { terminal: true, stdin: typeIn, stdout: typeOut });
      for (const { id } of [talker, echo, terminal]) await shim.task.start({ id, execId: "" });
      const waits = [talker, echo].map(({ id }) => shim.task.wait({ id, execId: "" }));
      using toEcho = new FifoWriter(echoIn);
      using toTerminal = new FifoWriter(typeIn);
      const lines = Array.from({ length: 40 }, (_, at) => `${at} ${"x".repeat(1000)}\n`);
      const upgrading = (async () => {
        for (let round = 0; round < 4; round++) await shim.handoff.upgrade({ binary: "" });
      })();
      for (const line of lines) {
        await toEcho.write(line);
        await toTerminal.write(line);
        await Bun.sleep(5);
      }
      await upgrading;
      toEcho[Symbol.dispose]();
      await shim.task.closeIO({ id: echo.id, execId: "", stdin: true });
      await Promise.all(waits);
      const numbers = Array.from({ length: 500 }, (_, at) => `${at + 1}\n`).join("");
      expect(await talked.text).toBe(numbers.repeat(60));
      expect(await echoed.text).toBe(`${lines.join("")}end\n`);
      await shim.remove(terminal.id);
      // What was typed before the terminal was raw was echoed too; what follows is as it was typed.
      expect((await typed.text).replaceAll("\r", "")).toContain(lines.slice(-30).join(""));
      for (const { id } of [talker, echo]) await shim.task.delete({ id, execId: "" });
    },
    TIMEOUT_MS,
  );

  test(
    "is refused for what is no wedge, and the shim goes on",
    async () => {
      await using shim = await LiveShim.start();
      using bundle = shim.bundle({ script: "sleep 1000" });
      const pid = await shim.create(bundle);
      const script = join(directory, "garbage");
      writeFileSync(script, "#!/bin/sh\necho garbage\n");
      chmodSync(script, 0o755);
      const hanging = join(directory, "hanging");
      writeFileSync(hanging, "#!/bin/sh\nexec sleep 1000\n");
      chmodSync(hanging, 0o755);
      const crashing = join(directory, "crashing");
      writeFileSync(crashing, "#!/bin/sh\nkill -SEGV $$\n");
      chmodSync(crashing, 0o755);
      const cases: readonly (readonly [string, RegExp])[] = [
        [crashing, /ended with status 139/],
        ["/bin/true", /did not read the document/],
        ["/bin/false", /ended with status 1/],
        [script, /did not read the document/],
        [hanging, /did not end its self test/],
        ["/etc/passwd", /not an executable file/],
        [join(directory, "missing"), /No such file|no such file/],
      ];
      for (const [binary, reason] of cases) {
        const refusal = await shim.handoff.upgrade({ binary }).catch((error) => String(error));
        expect(refusal).toMatch(reason);
      }
      const state = await shim.task.state({ id: bundle.id, execId: "" });
      expect(state.pid).toBe(pid);
      await shim.remove(bundle.id);
    },
    TIMEOUT_MS,
  );

  test(
    "to a wedge that cannot restore the shim ends where it began, and one that cannot restore itself tries again",
    async () => {
      // For as long as a file is there.
      const bug = join(directory, "bug");
      writeFileSync(bug, "");
      const restore = "const init = InitProcess.restore(state.init, runtime, context);";
      const binary = buildVariant(join(directory, "broken"), {
        file: "src/container/container.ts",
        from: restore,
        to: `${restore} if (existsSync(${JSON.stringify(bug)})) throw new Error("a bug");`,
        head: 'import { existsSync } from "node:fs";\n',
      });
      await using shim = await LiveShim.start({ sleepAfterSeconds: 0.3 });
      using bundle = shim.bundle({ script: "sleep 1000" });
      const pid = await shim.create(bundle);
      const waited = shim.task.wait({ id: bundle.id, execId: "" });
      const refusal = await shim.handoff.upgrade({ binary }).catch((error) => String(error));
      expect(refusal).toContain("gave the shim back: a bug");
      expect(await shim.task.state({ id: bundle.id, execId: "" })).toMatchObject({ pid });
      // It is as good as before: the next one succeeds.
      await shim.handoff.upgrade({ binary: "" });
      if (hasCompiler) {
        rmSync(bug);
        await shim.handoff.upgrade({ binary });
        await until("it sleeps", () => shim.isAsleep);
        writeFileSync(bug, "");
        const stated = shim.task.state({ id: bundle.id, execId: "" });
        await Bun.sleep(1500);
        rmSync(bug);
        expect(await stated).toMatchObject({ pid });
      }
      await shim.task.kill({ id: bundle.id, execId: "", signal: 9, all: false });
      expect((await waited).exitStatus).toBe(137);
      await shim.task.delete({ id: bundle.id, execId: "" });
    },
    TIMEOUT_MS,
  );
});

describe("a renewal", () => {
  test(
    "comes by itself when memory has grown past the ceiling, and nobody can tell",
    async () => {
      await using shim = await LiveShim.start({ env: { WEDGE_MEMORY_CEILING_MB: "10" } });
      using bundle = shim.bundle({ script: "sleep 1000" });
      const { id } = bundle;
      const pid = await shim.create(bundle);
      const waited = shim.task.wait({ id, execId: "" });
      const environ = `/proc/${shim.pid}/environ`;
      const isRenewed = () => readFileSync(environ, "utf8").includes("WEDGE_HANDOFF=");
      expect(isRenewed()).toBe(false);
      const spec = { typeUrl: "", value: new Uint8Array(2000) };
      const streams = { terminal: false, stdin: "", stdout: "", stderr: "" };
      const deadline = Date.now() + TIMEOUT_MS / 2;
      // The engine needs more for what it does often.
      while (!isRenewed() && Date.now() < deadline) {
        const refusal = await shim.task.exec({ id, execId: "-", spec, ...streams }).catch(String);
        expect(refusal).toContain("Cannot use the exec id");
      }
      expect(isRenewed()).toBe(true);
      expect(await shim.task.state({ id, execId: "" })).toMatchObject({ pid });
      await shim.task.kill({ id, execId: "", signal: 9, all: false });
      expect((await waited).exitStatus).toBe(137);
      await shim.task.delete({ id, execId: "" });
    },
    TIMEOUT_MS,
  );
});
