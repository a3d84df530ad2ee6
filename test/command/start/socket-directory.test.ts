import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  chooseSocketDirectory,
  socketDirectories,
} from "../../../src/command/start/socket-directory.ts";

describe("socketDirectories()", () => {
  test.each([
    [{ XDG_RUNTIME_DIR: "/run/user/7" }, ["/run/user/7/containerd/s"]],
    [{ XDG_RUNTIME_DIR: "relative" }, []],
    [{ XDG_RUNTIME_DIR: "" }, []],
    [{}, []],
  ])("with %j", (variables, own) => {
    const all = ["/run/containerd/s", ...own, "/run/7/containerd/s", "/tmp/containerd-s-7"];
    expect(socketDirectories(7, variables)).toEqual(all);
  });
});

describe("chooseSocketDirectory()", () => {
  const uid = process.geteuid?.() ?? 0;
  const place = () => {
    const path = mkdtempSync(join(tmpdir(), "w-"));
    return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
  };

  test("the first that can be used is made, for its owner alone", () => {
    using root = place();
    const first = join(root.path, "a/s");
    expect(chooseSocketDirectory([first, join(root.path, "b")], uid)).toBe(first);
    expect(statSync(first).mode & 0o777).toBe(0o700);
    expect(chooseSocketDirectory([first], uid)).toBe(first);
  });

  test.each<[string, (path: string) => void, string]>([
    [
      "one that others may write to",
      (path) => {
        mkdirSync(path);
        chmodSync(path, 0o1777);
      },
      "others may write to it",
    ],
    [
      "another user's",
      (path) => {
        mkdirSync(path);
        chownSync(path, 12345, 0);
      },
      "belongs to user 12345",
    ],
    ["a link, though it leads to a good one", (path) => symlinkSync(join(path, ".."), path), ""],
    ["a file", (path) => Bun.spawnSync(["touch", path]), ""],
    ["one below a file", (path) => Bun.spawnSync(["touch", join(path, "..")]), "ENOTDIR"],
  ])("%s is passed over, and said to be so when there is no other", (_name, make, text) => {
    using root = place();
    const [bad, good] = [join(root.path, "x", "s"), join(root.path, "good")];
    if (!text.includes("ENOTDIR")) mkdirSync(join(root.path, "x"));
    make(bad);
    expect(chooseSocketDirectory([bad, good], uid)).toBe(good);
    expect(() => chooseSocketDirectory([bad], uid)).toThrow(`${bad}: ${text}`);
  });

  test("a path in which a socket would not fit is passed over", () => {
    using root = place();
    const fitting = `${root.path}/`.padEnd(42, "x");
    expect(chooseSocketDirectory([fitting], uid)).toBe(fitting);
    const long = `${fitting}x`;
    expect(() => chooseSocketDirectory([long], uid)).toThrow(`${long}: path too long`);
  });
});
