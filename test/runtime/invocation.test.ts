/** Executables that cannot be run, and runs that do not end. */

import { describe, expect, test } from "bun:test";
import { chmodSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { failureOf, logError, NO_STDIO, openRuncScript } from "../fake/runc-script.ts";

describe("an executable that cannot be run", () => {
  test("and is not in PATH is named in quotes, as Go's exec names it", async () => {
    using fake = openRuncScript("", { command: "no-runc" });
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
    using fake = openRuncScript("", { command: "/no/such/runc" });
    expect((await failureOf(fake.runtime.start("c1"))).message).toBe(
      'OCI runtime start failed: exec: "/no/such/runc": stat /no/such/runc: no such file or directory',
    );
  });

  test("because it is not executable says so", async () => {
    using fake = openRuncScript("");
    chmodSync(fake.executable, 0o644);
    using named = openRuncScript("", { command: fake.executable });
    expect((await failureOf(named.runtime.start("c1"))).message).toEndWith(
      `exec: "${fake.executable}": permission denied`,
    );
  });

  test("because its interpreter is missing, or it is no program, is the kernel's refusal", async () => {
    using fake = openRuncScript("");
    writeFileSync(fake.executable, "#!/no/such/interpreter\n");
    expect((await failureOf(fake.runtime.start("c1"))).message).toContain(
      `exec "${fake.executable}": no such file or directory`,
    );
    writeFileSync(fake.executable, "no program");
    expect((await failureOf(fake.runtime.start("c1"))).message).toContain(
      `exec "${fake.executable}": exec`,
    );
    expect(fake.files()).toEqual([]);
  });

  test("because the bundle is gone names the bundle", async () => {
    using fake = openRuncScript("");
    rmSync(fake.bundle, { recursive: true });
    expect((await failureOf(fake.runtime.start("c1"))).message).toBe(
      `OCI runtime start failed: chdir ${fake.bundle}: no such file or directory`,
    );
  });
});

test("a verb that ends a container is run though its bundle is gone, and says why it fails", async () => {
  using fake = openRuncScript('echo "$@ in $(pwd)" >&2; exit 1');
  rmSync(fake.bundle, { recursive: true });
  const { message } = await failureOf(fake.runtime.delete("c1", { force: false }));
  expect(message).toBe("failed to delete task: --root /run/none/ns delete c1 in /");
});

describe("a call that hangs", () => {
  test("is killed at its deadline, with what runs below it, and says what hung", async () => {
    using fake = openRuncScript(`${logError("waiting for a hook")}; sleep 1000; true`);
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
    while (hasGroup(group)) await Bun.sleep(5);
    expect(hasGroup(group)).toBe(false);
  });

  test("is killed when the caller aborts", async () => {
    using fake = openRuncScript("touch ../began; sleep 1000");
    const abort = new AbortController();
    const failed = failureOf(fake.runtime.kill("c1", 9, { all: true, signal: abort.signal }));
    while (!readdirSync(fake.directory).includes("began")) await Bun.sleep(5);
    abort.abort();
    expect(await failed).toMatchObject({ kind: "canceled", reason: "canceled" });
  });

  test("is not even begun when the caller has aborted before", async () => {
    using fake = openRuncScript("touch ../began");
    const signal = AbortSignal.abort();
    expect((await failureOf(fake.runtime.start("c1", { signal }))).kind).toBe("canceled");
    expect(readdirSync(fake.directory)).not.toContain("began");
  });
});

/** More than is accepted, and no more than a host that does not mind can take. */
const FLOOD = "{ head -c 300M /dev/zero; exec sleep 1000; }";

test.each(["standard output", "standard error", "its log"])(
  "a call that floods %s is killed, long before its deadline",
  async (where) => {
    const target = { "standard output": "1", "standard error": "2", "its log": "3" }[where];
    using fake = openRuncScript(`exec 3>>"$4"; ${FLOOD} >&${target}`);
    const error = await failureOf(fake.runtime.start("c1"));
    expect(error).toMatchObject({ kind: "flooded", reason: "resourceExhausted" });
    expect(error.message).toContain(
      "wrote more to its log and its streams than is accepted and was killed",
    );
    expect(fake.files()).toEqual([]);
  },
);

test("a call whose log cannot be looked at is killed for what its streams are flooded with", async () => {
  using fake = openRuncScript(`ln -fs "$4" "$4"; ${FLOOD}`); // A link to itself.
  expect((await failureOf(fake.runtime.start("c1"))).kind).toBe("flooded");
});

test("when its process is to end, what makes a container is given up, and what clears one away is not", async () => {
  const ending = new AbortController();
  using fake = openRuncScript("case $* in *start*) touch ../began; sleep 1000;; esac", {
    ending: ending.signal,
  });
  const failed = failureOf(fake.runtime.start("c1"));
  while (!readdirSync(fake.directory).includes("began")) await Bun.sleep(5);
  ending.abort();
  expect((await failed).kind).toBe("canceled");
  expect((await failureOf(fake.runtime.pause("c1"))).kind).toBe("canceled");
  await fake.runtime.delete("c1", { force: true });
});

function hasGroup(leader: number): boolean {
  try {
    process.kill(-leader, 0);
    return true;
  } catch {
    return false;
  }
}
