import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findExecutable, scrubEnvironment } from "../../src/runtime/environment.ts";

describe("scrubEnvironment()", () => {
  test.each([
    [
      ["PATH=/bin", "HOME=/root", "A=b=c", "EMPTY="],
      ["PATH=/bin", "HOME=/root", "A=b=c", "EMPTY="],
    ],
    [["NOTIFY_SOCKET=/run/systemd/notify", "A=b"], ["A=b"]],
    [["LISTEN_FDS=1", "LISTEN_PID=7", "LISTEN_FDNAMES=x"], []],
    [["WEDGE_CHILD_OOM_SCORE=0", "WEDGE_CHILDREN=kept"], ["WEDGE_CHILDREN=kept"]],
    [["BUN_JSC_useConcurrentJIT=0", "MIMALLOC_PURGE_DELAY=0"], []],
    [["BUN_OPTIONS=--inspect", "BUN_BE_BUN=1", "BUNDLE=kept"], ["BUNDLE=kept"]],
    [["LD_LIBRARY_PATH=/opt/containerd/lib:"], ["LD_LIBRARY_PATH=/opt/containerd/lib"]],
    [["LD_LIBRARY_PATH=:/a::/b:.:lib"], ["LD_LIBRARY_PATH=/a:/b"]],
    [["LD_LIBRARY_PATH=:"], []],
    [["LD_LIBRARY_PATH="], []],
    [["=x", ""], []],
  ])("%j becomes %j", (given, kept) => {
    expect(scrubEnvironment(given)).toEqual(kept);
  });
});

describe("findExecutable()", () => {
  const root = mkdtempSync(join(tmpdir(), "environment-"));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  const write = (name: string, mode: number) => {
    mkdirSync(join(root, name, ".."), { recursive: true });
    writeFileSync(join(root, name), "#!/bin/sh\n");
    chmodSync(join(root, name), mode);
    return join(root, name);
  };
  const plain = write("plain/thing", 0o644);
  const first = write("first/thing", 0o755);
  write("second/thing", 0o755);
  const path = [`PATH=relative::${root}/none:${root}/plain:${root}/first:${root}/second`];

  test("a name is the first executable file of that name in PATH", () => {
    expect(findExecutable("thing", path)).toEqual({ kind: "found", path: first });
  });

  test("an absolute path is taken as it is", () => {
    expect(findExecutable(first, [])).toEqual({ kind: "found", path: first });
  });

  test.each([
    ["no-runc", path, `exec: "no-runc": executable file not found in $PATH`],
    ["thing", [], `exec: "thing": executable file not found in $PATH`],
    ["thing", ["PATH=first"], `exec: "thing": executable file not found in $PATH`],
    [plain, path, `exec: "${plain}": permission denied`],
    ["/no/such", path, `exec: "/no/such": stat /no/such: no such file or directory`],
    [root, path, `exec: "${root}": is a directory`],
    ["bin/runc", path, `exec: "bin/runc": name the runtime by an absolute path`],
    ["", path, `exec: "": name the runtime by an absolute path`],
  ])("%s with %j is refused, named in quotes", (command, environment, message) => {
    const found = findExecutable(command, environment);
    expect(found.kind === "missing" && found.message).toStartWith(message);
  });
});
