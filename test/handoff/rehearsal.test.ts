import { describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { ShimError } from "../../src/base/error.ts";
import { digestDocument } from "../../src/handoff/document.ts";
import { isPassing, REHEARSAL_ACTION, rehearse } from "../../src/handoff/rehearsal.ts";
import { Children } from "../../src/linux/children.ts";
import { SystemError } from "../../src/linux/errno.ts";
import { Poller } from "../../src/linux/poller.ts";
import { openProgram } from "../../src/linux/program.ts";

const { EAGAIN, ENOEXEC, EMFILE } = constants.errno;
const document = Buffer.from("a document");
/** What a program does that understands the document. */
const ANSWER = "sha256sum < /proc/self/fd/3 | cut -c 1-64";

/** What it comes to when a program rehearses that is this shell script; and what it has written to `said`. */
async function rehearseScript(script: string, limitMs = 20_000) {
  const directory = mkdtempSync(join(tmpdir(), "wedge-"));
  try {
    const path = join(directory, "program");
    const said = join(directory, "said");
    writeFileSync(path, `#!/bin/sh\n${script.replaceAll("said", said)}\n`);
    writeFileSync(said, "");
    chmodSync(path, 0o755);
    using poller = new Poller();
    using children = new Children({ poller, reapStrays: false });
    using program = openProgram(path);
    const env = ["PATH=/usr/bin:/bin"];
    const options = { children, program, path: "/new", argv: ["wedge"], env, document, limitMs };
    const outcome = await rehearse(options).then(
      () => "taken",
      (error: unknown) => error,
    );
    return { outcome, said: readFileSync(said, "utf8").trim() };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function refusal(message: string) {
  return expect.objectContaining({ reason: "failedPrecondition", message });
}

describe("rehearse()", () => {
  test("takes a program that answers with the digest of the document", async () => {
    const { outcome, said } = await rehearseScript(`echo "$#: $1" > said; ${ANSWER}`);
    expect(outcome).toBe("taken");
    expect(said).toBe(`1: ${REHEARSAL_ACTION}`);
  });

  test("refuses a program that ends with another status than 0, with what it says", async () => {
    const { outcome } = await rehearseScript(`echo "it has format 9" >&2; exit 3`);
    expect(outcome).toEqual(
      refusal("Cannot upgrade to /new: its self test ended with status 3: it has format 9"),
    );
  });

  test.each([
    ["nothing", ":"],
    ["the digest of another document", `echo ${digestDocument(Buffer.from("another"))}`],
    ["more than the digest", `${ANSWER}; echo and more`],
  ])("refuses a program that answers %s", async (_, script) => {
    const { outcome } = await rehearseScript(script);
    expect(outcome).toEqual(
      refusal("Cannot upgrade to /new: its self test did not read the document"),
    );
  });

  test("kills a program that does not end, with all that it has started", async () => {
    const { outcome, said } = await rehearseScript("sleep 1000 & echo $! > said; wait", 500);
    expect(outcome).toEqual(
      refusal("Cannot upgrade to /new: it did not end its self test within 500 ms"),
    );
    expect(Number(said)).toBeGreaterThan(1);
    // Whoever adopts it may not have reaped it yet.
    const state = () => /\) (\w)/.exec(statOf(Number(said)))?.[1] ?? "Z";
    for (let look = 0; look < 1000 && state() !== "Z"; look += 1) await Bun.sleep(5);
    expect(state()).toBe("Z");
  });
});

/** `/proc/PID/stat`; "" where there is no such process. */
function statOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return "";
  }
}

describe("an upgrade that has failed", () => {
  test.each([
    ["calls did not come to their end", new ShimError("unavailable", "")],
    ["no process was available", new SystemError("exec", EAGAIN)],
    ["no descriptor was available", new SystemError("openat", EMFILE)],
  ])("is tried again when %s", (_, error) => {
    expect(isPassing(error)).toBe(true);
  });

  test.each([
    ["the program failed its self test", new ShimError("failedPrecondition", "")],
    ["the kernel cannot run the program", new SystemError("exec", ENOEXEC)],
    ["nobody knows why", new Error("x")],
  ])("is not tried again when %s", (_, error) => {
    expect(isPassing(error)).toBe(false);
  });
});
