/** Calls of executables that misbehave in every way a runtime may. Real runtimes: `life.test.ts`. */

import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Children } from "../../src/linux/children.ts";
import { openFd } from "../../src/linux/fd.ts";
import { Poller } from "../../src/linux/poller.ts";
import { CallHistory } from "../../src/runtime/call-history.ts";
import { RuntimeError } from "../../src/runtime/error.ts";
import { Runc } from "../../src/runtime/runc.ts";

const poller = new Poller();
const children = new Children({ poller, reapStrays: false });
const O_WRONLY_CREAT = 0o101;

afterAll(() => {
  children[Symbol.dispose]();
  poller[Symbol.dispose]();
});

/** A bundle, and in the place of runc a shell script, which finds its arguments in "$@". */
function openFake(script: string, options: { command?: string; environment?: string[] } = {}) {
  const directory = mkdtempSync(join(tmpdir(), "runc-test-"));
  const bundle = join(directory, "bundle");
  mkdirSync(bundle);
  const executable = join(directory, "runc");
  writeFileSync(executable, `#!/bin/sh\n${script}\n`);
  chmodSync(executable, 0o755);
  const history = new CallHistory();
  const runtime = new Runc(
    {
      command: options.command ?? "runc",
      root: "/run/none/ns",
      systemdCgroup: false,
      bundle,
      environment: options.environment ?? [`PATH=${directory}:/usr/bin:/bin`],
    },
    { children, history },
  );
  return {
    runtime,
    history,
    bundle,
    directory,
    pidFile: join(bundle, "init.pid"),
    files: () => readdirSync(bundle).sort(),
    read: (name: string) => readFileSync(join(directory, name), "utf8"),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

const NO_STDIO = [undefined, undefined, undefined] as const;

async function failureOf(call: Promise<unknown>): Promise<RuntimeError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof RuntimeError) return error;
    throw error;
  }
  throw new Error("The call succeeded");
}

const LOG_ERROR = (message: string) =>
  `printf '{"level":"error","msg":"%s","time":"x"}\\n' '${message}' >> "$4"`;

describe("a call", () => {
  test("has the bundle as working directory, --root before --log, and the verb last", async () => {
    using fake = openFake('pwd > ../said; echo "$@" >> ../said');
    await fake.runtime.start("c1");
    const [cwd, line] = fake.read("said").split("\n");
    expect(cwd).toBe(fake.bundle);
    expect(line).toMatch(
      new RegExp(
        `^--root /run/none/ns --log ${fake.bundle}/runtime-start-log-\\S+ --log-format json start c1$`,
      ),
    );
  });

  test("has no NOTIFY_SOCKET, and no empty entry in LD_LIBRARY_PATH", async () => {
    using fake = openFake("env > ../said", {
      environment: ["NOTIFY_SOCKET=/n", "BUN_OPTIONS=x", "LD_LIBRARY_PATH=/lib:", "KEPT=1"],
      command: "placeholder",
    });
    const path = join(fake.directory, "runc");
    const environment = ["NOTIFY_SOCKET=/n", "BUN_OPTIONS=x", "LD_LIBRARY_PATH=/lib:", "KEPT=1"];
    const runtime = new Runc(
      { command: path, root: "/r", systemdCgroup: false, bundle: fake.bundle, environment },
      { children },
    );
    await runtime.start("c1");
    const said = fake.read("said");
    expect(said).toContain("KEPT=1\n");
    expect(said).toContain("LD_LIBRARY_PATH=/lib\n");
    expect(said).not.toMatch(/NOTIFY_SOCKET|BUN_/);
  });

  test("fails with the last error of its own log, word for word, and leaves no file", async () => {
    using fake = openFake(
      `${LOG_ERROR("first")}; ${LOG_ERROR("exec: x: executable file not found in $PATH")}; echo noise >&2; exit 1`,
    );
    const error = await failureOf(fake.runtime.start("c1"));
    expect(error).toMatchObject({
      message: "OCI runtime start failed: exec: x: executable file not found in $PATH",
      runtimeMessage: "exec: x: executable file not found in $PATH",
      verb: "start",
      kind: "other",
      reason: "unknown",
    });
    expect(fake.files()).toEqual([]);
  });

  test("that succeeds leaves no file either, and may log errors", async () => {
    using fake = openFake(LOG_ERROR("survived"));
    await fake.runtime.pause("c1");
    expect(fake.files()).toEqual([]);
  });

  test.each([
    ["echo only on stderr >&2; exit 3", "OCI runtime pause failed: only on stderr"],
    ["exit 3", "OCI runtime pause failed: runc did not terminate successfully: exit status 3"],
    ["kill -9 $$", "OCI runtime pause failed: runc did not terminate successfully: signal: killed"],
    [
      "kill -11 $$",
      "OCI runtime pause failed: runc did not terminate successfully: signal: segmentation fault",
    ],
    ["echo garbage > $4; exit 1", "did not terminate successfully: exit status 1"],
    // A script that opens standard error anew does not write over what is there.
    ["echo one >&2; echo two >> /dev/stderr; echo three >&2; exit 1", "failed: one\ntwo\nthree"],
    ["echo one > /dev/stderr; echo two >&2; exit 1", "failed: one\ntwo"],
  ])("%j without a log says: %s", async (script, message) => {
    using fake = openFake(script);
    expect((await failureOf(fake.runtime.pause("c1"))).message).toContain(message);
    expect(fake.files()).toEqual([]);
  });

  test("with a log of 30 MB fails with its last error all the same", async () => {
    using fake = openFake(
      `yes '{"level":"debug","msg":"so much to say"}' | head -c 30000000 > "$4"; echo >> "$4"; ${LOG_ERROR("at last")}; exit 1`,
    );
    expect((await failureOf(fake.runtime.pause("c1"))).runtimeMessage).toBe("at last");
    expect(fake.files()).toEqual([]);
  });

  test("with 10 MB on stderr fails with the end of it", async () => {
    using fake = openFake("yes noise | head -c 10000000 >&2; echo >&2; echo the end >&2; exit 1");
    const { runtimeMessage } = await failureOf(fake.runtime.pause("c1"));
    expect(runtimeMessage).toEndWith("the end");
    expect(runtimeMessage.length).toBeLessThan(17_000);
  });

  test("is not held up by what its hooks leave running with its output open", async () => {
    using fake = openFake("sleep 1000 & echo $! > ../said");
    await fake.runtime.start("c1", { timeoutMs: 20_000 });
    process.kill(Number(fake.read("said")), "SIGKILL");
  });

  test("two calls at once each have their own error", async () => {
    using fake = openFake(
      `eval id=\\$$#; printf '{"level":"error","msg":"%s"}\\n' "about $id" >> "$4"; exit 1`,
    );
    const ids = Array.from({ length: 16 }, (_, index) => `c${index}`);
    const errors = await Promise.all(ids.map((id) => failureOf(fake.runtime.pause(id))));
    expect(errors.map((error) => error.runtimeMessage)).toEqual(ids.map((id) => `about ${id}`));
  });
});

describe("an executable that cannot be run", () => {
  test("and is not in PATH is named in quotes, as Go's exec names it", async () => {
    using fake = openFake("", { command: "no-runc" });
    const error = await failureOf(
      fake.runtime.create("c1", {
        pidFile: fake.pidFile,
        noPivot: false,
        noNewKeyring: false,
        stdio: NO_STDIO,
      }),
    );
    expect(error.message).toBe(
      'OCI runtime create failed: exec: "no-runc": executable file not found in $PATH',
    );
    expect(error.kind).toBe("runtimeNotFound");
  });

  test("and is a path to nowhere says so", async () => {
    using fake = openFake("", { command: "/no/such/runc" });
    expect((await failureOf(fake.runtime.start("c1"))).message).toBe(
      'OCI runtime start failed: exec: "/no/such/runc": stat /no/such/runc: no such file or directory',
    );
  });

  test("because it is not executable says so", async () => {
    using fake = openFake("");
    chmodSync(join(fake.directory, "runc"), 0o644);
    const runtime = new Runc(
      {
        command: join(fake.directory, "runc"),
        ...{ root: "/r", systemdCgroup: false, bundle: fake.bundle, environment: [] },
      },
      { children },
    );
    expect((await failureOf(runtime.start("c1"))).message).toEndWith(
      'exec: "'.concat(join(fake.directory, "runc"), '": permission denied'),
    );
  });

  test("because its interpreter is missing, or it is no program, is the kernel's refusal", async () => {
    using fake = openFake("");
    const path = join(fake.directory, "runc");
    writeFileSync(path, "#!/no/such/interpreter\n");
    expect((await failureOf(fake.runtime.start("c1"))).message).toContain(
      `exec "${path}": no such file or directory`,
    );
    writeFileSync(path, "no program");
    expect((await failureOf(fake.runtime.start("c1"))).message).toContain(`exec "${path}": exec`);
    expect(fake.files()).toEqual([]);
  });

  test("because the bundle is gone names the bundle", async () => {
    using fake = openFake("");
    rmSync(fake.bundle, { recursive: true });
    expect((await failureOf(fake.runtime.start("c1"))).message).toBe(
      `OCI runtime start failed: chdir ${fake.bundle}: no such file or directory`,
    );
  });
});

describe("a call that hangs", () => {
  test("is killed at its deadline, with what runs below it, and says what hung", async () => {
    using fake = openFake(`${LOG_ERROR("waiting for a hook")}; sleep 1000; true`);
    const error = await failureOf(fake.runtime.start("c1", { timeoutMs: 300 }));
    expect(error).toMatchObject({ kind: "timeout", reason: "deadlineExceeded" });
    expect(error.message).toMatch(
      /^OCI runtime start failed: runc start \(process \d+\) did not finish within \d+ ms and was killed: waiting for a hook$/,
    );
    expect(fake.files()).toEqual([]);
    const [call] = fake.history.list();
    expect(call).toMatchObject({ verb: "start", id: "c1", status: undefined });
    // The whole group is gone, the sleep below the script included.
    const group = call?.pid ?? 0;
    for (let tries = 0; tries < 400 && hasGroup(group); tries++) await Bun.sleep(5);
    expect(hasGroup(group)).toBe(false);
  });

  test("is killed when the caller aborts", async () => {
    using fake = openFake("touch ../began; sleep 1000");
    const abort = new AbortController();
    const failed = failureOf(fake.runtime.kill("c1", 9, { all: true, signal: abort.signal }));
    for (let tries = 0; tries < 2_000 && !readdirSync(fake.directory).includes("began"); tries++)
      await Bun.sleep(5);
    abort.abort();
    expect(await failed).toMatchObject({ kind: "canceled", reason: "canceled" });
  });

  test("is not even begun when the caller has aborted before", async () => {
    using fake = openFake("touch ../began");
    const signal = AbortSignal.abort();
    expect((await failureOf(fake.runtime.start("c1", { signal }))).kind).toBe("canceled");
    expect(readdirSync(fake.directory)).not.toContain("began");
  });
});

function hasGroup(leader: number): boolean {
  try {
    process.kill(-leader, 0);
    return true;
  } catch {
    return false;
  }
}

/** Stands for a runtime that writes what `text` says into the pid file that it is told. */
const pidFileScript = (text: string) =>
  `while [ "$1" != --pid-file ]; do shift; done; printf -- '${text}' > "$2"`;

describe("create()", () => {
  const request = { noPivot: false, noNewKeyring: false, stdio: NO_STDIO };

  test.each([
    ["4711", 4711],
    ["4711\\n", 4711],
  ])("resolves to the pid in the pid file: %j", async (text, pid) => {
    using fake = openFake(pidFileScript(text));
    expect(await fake.runtime.create("c1", { ...request, pidFile: fake.pidFile })).toBe(pid);
  });

  test.each(["", "0", "-1", "garbage", "12 13", "99999999", "1e3", "0x10"])(
    "refuses a pid file that says %j",
    async (text) => {
      using fake = openFake(pidFileScript(text));
      const error = await failureOf(
        fake.runtime.create("c1", { ...request, pidFile: fake.pidFile }),
      );
      expect(error.message).toBe(
        `OCI runtime create failed: failed to retrieve OCI runtime container pid: no pid in ${fake.pidFile}: ${JSON.stringify(text)}`,
      );
    },
  );

  test("does not take an old pid file for the runtime's", async () => {
    using fake = openFake("true");
    writeFileSync(fake.pidFile, "1");
    const error = await failureOf(fake.runtime.create("c1", { ...request, pidFile: fake.pidFile }));
    expect(error.message).toContain("failed to retrieve OCI runtime container pid");
    expect(error.message).toContain(fake.pidFile);
  });

  test("lends its stdio to the runtime, and nothing else is open there", async () => {
    using fake = openFake(
      `ls -l /proc/self/fd | sed 's/.* \\([0-9]* -> .*\\)/\\1/' ; echo err >&2; ${pidFileScript("7")}`,
    );
    using out = openFd(join(fake.directory, "out"), O_WRONLY_CREAT, 0o600);
    using err = openFd(join(fake.directory, "err"), O_WRONLY_CREAT, 0o600);
    const stdio = [undefined, out.fd, err.fd] as const;
    await fake.runtime.create("c1", { ...request, stdio, pidFile: fake.pidFile });
    expect(fake.read("err")).toBe("err\n");
    const lines = fake.read("out").trim().split("\n");
    expect(lines).toContain("0 -> /dev/null");
    expect(lines.filter((line) => /memfd|socket|eventpoll/.test(line))).toEqual([]);
  });

  test("with a terminal has the runtime's stderr as the last resort for its error", async () => {
    using fake = openFake("echo no pty for you >&2; exit 1");
    const error = await failureOf(
      fake.runtime.create("c1", { ...request, pidFile: fake.pidFile, consoleSocket: "/s" }),
    );
    expect(error.message).toBe("OCI runtime create failed: no pty for you");
  });
});

describe("exec()", () => {
  test("gives the runtime the process as a file of its owner's alone, and removes it", async () => {
    using fake = openFake(
      `while [ "$1" != --process ]; do shift; done; cat "$2" > ../said; stat -c ' %a' "$2" >> ../said; ${pidFileScript("9")}`,
    );
    const pid = await fake.runtime.exec("c1", {
      process: { json: '{"args":["é"]}' },
      pidFile: join(fake.bundle, "e1.pid"),
      stdio: NO_STDIO,
    });
    expect(pid).toBe(9);
    expect(fake.read("said")).toBe('{"args":["é"]} 600\n');
    expect(fake.files()).toEqual(["e1.pid"]);
  });

  test("removes that file when it fails too, and names a missing pid as the exec's", async () => {
    using fake = openFake("true");
    const error = await failureOf(
      fake.runtime.exec("c1", {
        process: { json: "{}" },
        pidFile: join(fake.bundle, "e1.pid"),
        stdio: NO_STDIO,
      }),
    );
    expect(error.message).toContain("failed to retrieve OCI runtime exec pid");
    expect(fake.files()).toEqual([]);
  });
});

describe("update()", () => {
  test.each([0, 1, 300_000])("hands on resources of %d bytes through stdin", async (length) => {
    using fake = openFake("cat > ../said");
    const bytes = new Uint8Array(length).fill(0x78);
    await fake.runtime.update("c1", bytes);
    expect(fake.read("said")).toBe("x".repeat(length));
  });
});

describe("pids()", () => {
  test.each([
    ["[1,22,333]", [1, 22, 333]],
    ["[\\n  11467\\n]\\n", [11467]],
    ["[]", []],
    ["null\\n", []],
  ])("of %s", async (text, pids) => {
    using fake = openFake(`echo a warning >&2; printf '${text}'`);
    expect(await fake.runtime.pids("c1")).toEqual(pids);
  });

  test.each(["", "PID 7", '["7"]', '{"pids":[1]}', "[1.5]"])("refuses %j", async (text) => {
    using fake = openFake(`printf '${text}'`);
    expect((await failureOf(fake.runtime.pids("c1"))).message).toContain("listed no pids but");
  });

  test("refuses more output than is accepted", async () => {
    using fake = openFake("head -c 5000000 /dev/zero");
    expect((await failureOf(fake.runtime.pids("c1"))).message).toContain("more output");
  });
});

describe("features() and version()", () => {
  test("are asked without flags, for there may be no bundle, and leave stderr out", async () => {
    using fake = openFake('echo noise >&2; echo "$@"');
    expect(await fake.runtime.features()).toBe("features\n");
    expect(await fake.runtime.version()).toBe("--version\n");
  });
});

describe("CallHistory", () => {
  test("lists calls that run, and how those that ended did", async () => {
    using fake = openFake(`${LOG_ERROR("no luck")}; [ "$8" = good ]`);
    const running = fake.runtime.start("good");
    expect(fake.history.list()).toMatchObject([
      { verb: "start", id: "good", durationMs: undefined, status: undefined, error: "" },
    ]);
    await running;
    await failureOf(fake.runtime.pause("bad"));
    const calls = fake.history.list();
    expect(calls).toMatchObject([
      { verb: "start", id: "good", status: 0, error: "" },
      { verb: "pause", id: "bad", status: 1, error: "no luck" },
    ]);
    for (const call of calls) expect(call.durationMs).toBeGreaterThanOrEqual(0);
  });

  test("keeps the last 32 that ended, and errors of 512 characters", () => {
    const history = new CallHistory(() => 7);
    const hanging = history.begin("start", "hanging", 1);
    for (let pid = 2; pid < 100; pid++)
      history.begin("kill", "c", pid).end({ status: 1, error: "e".repeat(1_000) });
    const calls = history.list();
    expect(calls).toHaveLength(33);
    expect(calls.at(0)).toMatchObject({ pid: 68, startedAtMs: 7, durationMs: 0 });
    expect(calls.at(0)?.error).toHaveLength(512);
    expect(calls.at(-1)).toMatchObject({ id: "hanging", durationMs: undefined });
    hanging.end({ status: 0, error: "" });
    hanging.end({ status: 1, error: "twice" });
    expect(history.list()).toHaveLength(32);
    expect(history.list().at(-1)).toMatchObject({ id: "hanging", status: 0 });
  });
});

test("two hundred calls leave no descriptor open", async () => {
  using fake = openFake("exit 1");
  const count = () => readdirSync("/proc/self/fd").length;
  await failureOf(fake.runtime.pause("c1"));
  const before = count();
  for (let round = 0; round < 50; round++) {
    await Promise.all(Array.from({ length: 4 }, () => failureOf(fake.runtime.pause("c1"))));
  }
  expect(count()).toBeLessThanOrEqual(before + 1);
});
