/** Verbs over scripts that misbehave in every way a runtime may. Real runtimes: `life.test.ts`. */

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFd } from "../../src/linux/fd.ts";
import { MNT_DETACH, mount, unmount } from "../../src/linux/mount.ts";
import {
  failureOf,
  logError,
  NO_STDIO,
  openRuncScript,
  writePidFile,
} from "../fake/runc-script.ts";

const O_WRONLY_CREAT = 0o101;

/** Mounts a file system at `directory` in which nothing more can be made. */
function noInodesIn(directory: string): Disposable {
  mount({ source: "none", target: directory, type: "tmpfs", flags: 0, data: "nr_inodes=1" });
  return { [Symbol.dispose]: () => unmount(directory, MNT_DETACH) };
}

describe("a call", () => {
  test("has the bundle as working directory, --root before --log, and the verb last", async () => {
    using fake = openRuncScript('pwd > ../said; echo "$@" >> ../said');
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
    using fake = openRuncScript("env > ../said", {
      environment: ["NOTIFY_SOCKET=/n", "BUN_OPTIONS=x", "LD_LIBRARY_PATH=/lib:", "KEPT=1"],
    });
    await fake.runtime.start("c1");
    const said = fake.read("said");
    expect(said).toContain("KEPT=1\n");
    expect(said).toContain("LD_LIBRARY_PATH=/lib\n");
    expect(said).not.toMatch(/NOTIFY_SOCKET|BUN_/);
  });

  test("runs the executable that was found first, for as long as that is there", async () => {
    using preferred = openRuncScript("echo preferred > said");
    using other = openRuncScript("echo other > said");
    renameSync(preferred.executable, `${preferred.executable}.not-yet`);
    using fake = openRuncScript("echo last > said", {
      environment: [`PATH=${preferred.directory}:${other.directory}:/bin`],
    });
    await fake.runtime.start("c1");
    expect(fake.read("bundle/said")).toBe("other\n");
    renameSync(`${preferred.executable}.not-yet`, preferred.executable);
    await fake.runtime.pause("c1");
    expect(fake.read("bundle/said")).toBe("other\n");
    rmSync(other.executable);
    await fake.runtime.resume("c1");
    expect(fake.read("bundle/said")).toBe("preferred\n");
  });

  test("fails with the last error of its own log, word for word, and leaves no file", async () => {
    using fake = openRuncScript(
      `${logError("first")}; ${logError("exec: x: executable file not found in $PATH")}; echo noise >&2; exit 1`,
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

  test("configures CRIU by a file, after what the user's own says, and leaves none", async () => {
    const own = join(tmpdir(), `wedge-criu-${crypto.randomUUID()}.conf`);
    writeFileSync(own, "tcp-established");
    using fake = openRuncScript('cat "$CRIU_CONFIG_FILE" > ../said; env >> ../said', {
      environment: [`CRIU_CONFIG_FILE=${own}`],
    });
    const criu = { config: ["external file[1:2]"] };
    await fake.runtime.checkpoint("c1", { imagePath: "/i", leaveRunning: true, criu });
    rmSync(own);
    expect(fake.read("said")).toStartWith("tcp-established\nexternal file[1:2]\n");
    expect(fake.read("said").match(/^CRIU_CONFIG_FILE=.*$/gm)).toHaveLength(1);
    expect(fake.files()).toEqual([]);
  });

  test("leaves the user's own configuration of CRIU in place when it has nothing to say", async () => {
    using fake = openRuncScript("env > ../said", { environment: ["CRIU_CONFIG_FILE=/own.conf"] });
    await fake.runtime.checkpoint("c1", { imagePath: "/i", leaveRunning: true });
    expect(fake.read("said")).toContain("CRIU_CONFIG_FILE=/own.conf\n");
  });

  test("that succeeds leaves no file either, and may log errors", async () => {
    using fake = openRuncScript(logError("survived"));
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
    using fake = openRuncScript(script);
    expect((await failureOf(fake.runtime.pause("c1"))).message).toContain(message);
    expect(fake.files()).toEqual([]);
  });

  test("with a log of 30 MB fails with its last error all the same", async () => {
    using fake = openRuncScript(
      `yes '{"level":"debug","msg":"so much to say"}' | head -c 30000000 > "$4"; echo >> "$4"; ${logError("at last")}; exit 1`,
    );
    expect((await failureOf(fake.runtime.pause("c1"))).runtimeMessage).toBe("at last");
    expect(fake.files()).toEqual([]);
  });

  test("with 10 MB on stderr fails with the end of it", async () => {
    using fake = openRuncScript(
      "yes noise | head -c 10000000 >&2; echo >&2; echo the end >&2; exit 1",
    );
    const { runtimeMessage } = await failureOf(fake.runtime.pause("c1"));
    expect(runtimeMessage).toEndWith("the end");
    expect(runtimeMessage.length).toBeLessThan(17_000);
  });

  test("is not held up by what its hooks leave running with its output open", async () => {
    using fake = openRuncScript("sleep 1000 & echo $! > ../said");
    await fake.runtime.start("c1", { timeoutMs: 20_000 });
    // It is still running: otherwise this throws.
    expect(process.kill(Number(fake.read("said")), "SIGKILL")).toBe(true);
  });

  test("two calls at once each have their own error", async () => {
    using fake = openRuncScript(
      `eval id=\\$$#; printf '{"level":"error","msg":"%s"}\\n' "about $id" >> "$4"; exit 1`,
    );
    const ids = Array.from({ length: 16 }, (_, index) => `c${index}`);
    const errors = await Promise.all(ids.map((id) => failureOf(fake.runtime.pause(id))));
    expect(errors.map((error) => error.runtimeMessage)).toEqual(ids.map((id) => `about ${id}`));
  });
});

describe("create()", () => {
  const request = { noPivot: false, noNewKeyring: false, stdio: NO_STDIO };

  test.each([
    ["4711", 4711],
    ["4711\\n", 4711],
  ])("resolves to the pid in the pid file: %j", async (text, pid) => {
    using fake = openRuncScript(writePidFile(text));
    expect(await fake.runtime.create("c1", { ...request, pidFile: fake.pidFile })).toBe(pid);
  });

  test.each(["", "0", "-1", "garbage", "12 13", "99999999", "1e3", "0x10"])(
    "refuses a pid file that says %j",
    async (text) => {
      using fake = openRuncScript(writePidFile(text));
      const error = await failureOf(
        fake.runtime.create("c1", { ...request, pidFile: fake.pidFile }),
      );
      expect(error.message).toBe(
        `OCI runtime create failed: failed to retrieve OCI runtime container pid: no pid in ${fake.pidFile}: ${JSON.stringify(text)}`,
      );
    },
  );

  test("does not take an old pid file for the runtime's", async () => {
    using fake = openRuncScript("true");
    writeFileSync(fake.pidFile, "1");
    const error = await failureOf(fake.runtime.create("c1", { ...request, pidFile: fake.pidFile }));
    expect(error.message).toContain("failed to retrieve OCI runtime container pid");
    expect(error.message).toContain(fake.pidFile);
  });

  test("lends its stdio to the runtime, and nothing else is open there", async () => {
    using fake = openRuncScript(
      `ls -l /proc/self/fd | sed 's/.* \\([0-9]* -> .*\\)/\\1/' ; echo err >&2; ${writePidFile("7")}`,
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
    using fake = openRuncScript("echo no pty for you >&2; exit 1");
    const error = await failureOf(
      fake.runtime.create("c1", { ...request, pidFile: fake.pidFile, consoleSocket: "/s" }),
    );
    expect(error.message).toBe("OCI runtime create failed: no pty for you");
  });
});

describe("exec()", () => {
  test("gives the runtime the process as a file of its owner's alone, and removes it", async () => {
    using fake = openRuncScript(
      `while [ "$1" != --process ]; do shift; done; cat "$2" > ../said; stat -c ' %a' "$2" >> ../said; ${writePidFile("9")}`,
    );
    const pid = await fake.runtime.exec("c1", {
      processJson: '{"args":["é"]}',
      pidFile: join(fake.bundle, "e1.pid"),
      stdio: NO_STDIO,
    });
    expect(pid).toBe(9);
    expect(fake.read("said")).toBe('{"args":["é"]} 600\n');
    expect(fake.files()).toEqual(["e1.pid"]);
  });

  test("removes that file when it fails too, and names a missing pid as the exec's", async () => {
    using fake = openRuncScript("true");
    const error = await failureOf(
      fake.runtime.exec("c1", {
        processJson: "{}",
        pidFile: join(fake.bundle, "e1.pid"),
        stdio: NO_STDIO,
      }),
    );
    expect(error.message).toContain("failed to retrieve OCI runtime exec pid");
    expect(fake.files()).toEqual([]);
  });
});

test("an exec that fails kills nobody whose pid its file should not have", async () => {
  // No child of this process.
  const script = "sleep 1000 >/dev/null 2>&1 & echo $!";
  const stranger = Number(Bun.spawnSync(["/bin/sh", "-c", script]).stdout);
  using fake = openRuncScript(`${writePidFile(String(stranger))}; exit 1`);
  const pidFile = join(fake.bundle, "e1.pid");
  await failureOf(fake.runtime.exec("c1", { processJson: "{}", pidFile, stdio: NO_STDIO }));
  expect(fake.files()).toEqual(["e1.pid"]);
  await Bun.sleep(20);
  expect(readFileSync(`/proc/${stranger}/stat`, "latin1")).toMatch(/ \(sleep\) S /);
  process.kill(stranger, "SIGKILL");
});

describe("where no file can be made", () => {
  test("a call is made without a log, and says on stderr what is wrong", async () => {
    using fake = openRuncScript('echo "$@" > ../said; echo "no such luck" >&2; exit 1');
    using _full = noInodesIn(fake.bundle);
    const error = await failureOf(fake.runtime.delete("c1", { force: true }));
    expect(error.message).toBe("failed to delete task: no such luck");
    expect(fake.read("said")).toBe("--root /run/none/ns delete --force c1\n");
  });

  test("an exec says which file it cannot write", async () => {
    using fake = openRuncScript("true");
    using _full = noInodesIn(fake.bundle);
    const pidFile = join(fake.bundle, "e1.pid");
    const exec = fake.runtime.exec("c1", { processJson: "{}", pidFile, stdio: NO_STDIO });
    expect((await failureOf(exec)).message).toMatch(
      /^OCI runtime exec failed: cannot write the process to \S+: ENOSPC: no space left on device/,
    );
  });
});

describe("update()", () => {
  test.each([0, 1, 300_000])("hands on resources of %d bytes through stdin", async (length) => {
    using fake = openRuncScript("cat > ../said");
    const bytes = new Uint8Array(length).fill(0x78);
    await fake.runtime.update("c1", bytes);
    expect(fake.read("said")).toBe("x".repeat(length));
  });
});

describe("features()", () => {
  test("is asked without flags, for there may be no bundle, and leaves stderr out", async () => {
    using fake = openRuncScript('echo noise >&2; echo "$@"');
    expect(await fake.runtime.features()).toBe("features\n");
  });

  test("more output than is accepted is refused", async () => {
    using fake = openRuncScript("head -c 5000000 /dev/zero");
    expect((await failureOf(fake.runtime.features())).message).toContain("more output");
  });
});

test("two hundred calls leave no descriptor open", async () => {
  using fake = openRuncScript("exit 1");
  const count = () => readdirSync("/proc/self/fd").length;
  await failureOf(fake.runtime.pause("c1"));
  const before = count();
  for (let round = 0; round < 50; round++) {
    await Promise.all(Array.from({ length: 4 }, () => failureOf(fake.runtime.pause("c1"))));
  }
  expect(count()).toBeLessThanOrEqual(before + 1);
});
