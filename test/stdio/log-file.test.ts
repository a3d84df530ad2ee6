/** `file://` with a form and a size: contents, rotation, and what a full disk costs. */

import { describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { silentLogger } from "../../src/base/log.ts";
import { LogFile } from "../../src/stdio/log-file.ts";
import { withoutDescriptors } from "../linux/no-descriptors.ts";
import { Kit } from "./kit.ts";

/** The payloads of CRI records, lines joined as a kubelet does. */
function payloadOf(text: string, stream: string): string {
  return text
    .split("\n")
    .map((line) => /^\S+ (\S+) ([PF]) (.*)$/.exec(line))
    .filter((match) => match?.[1] === stream)
    .map((match) => (match?.[3] ?? "") + (match?.[2] === "F" ? "\n" : ""))
    .join("");
}

async function log(kit: Kit, query: string, script: string, path = join(kit.dir, "log")) {
  const stdio = await kit.open({ stdout: `file://${path}?${query}`, stderr: "x" });
  await kit.start(stdio, script);
  await stdio.drained;
  return { path, stdio };
}

/** The files of a log, oldest first. */
function filesOf(path: string): string[] {
  const old = [9, 8, 7, 6, 5, 4, 3, 2, 1].map((age) => `${path}.${age}`).filter(existsSync);
  return [...old, path];
}

const textOf = (path: string) =>
  filesOf(path)
    .map((file) => readFileSync(file, "utf8"))
    .join("");

/** A file system of 96 KiB of which half is taken, until it is made room. */
class SmallDisk implements Disposable {
  readonly path: string;
  // Without pipes, whose sockets the engine closes a little later and the kit would take for a leak.
  readonly #quiet = { stdout: "ignore", stderr: "ignore" } as const;

  constructor(path: string) {
    this.path = path;
    mkdirSync(path);
    const mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "none", path];
    expect(Bun.spawnSync(mount, this.#quiet).success).toBe(true);
    writeFileSync(join(path, "ballast"), new Uint8Array(48 * 1024));
  }

  /** For all that is still on its way, too. */
  makeRoom(): void {
    rmSync(join(this.path, "ballast"));
    const mount = ["mount", "-o", "remount,size=8m", this.path];
    expect(Bun.spawnSync(mount, this.#quiet).success).toBe(true);
  }

  [Symbol.dispose](): void {
    Bun.spawnSync(["umount", "-l", this.path], this.#quiet);
  }
}

const seq = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => `${from + index}\n`).join("");

describe("a log file", () => {
  test("in CRI records tells the streams apart, and closes the last line", async () => {
    await using kit = new Kit();
    const { path } = await log(kit, "format=cri", "seq 1 3000; seq 1 2000 >&2; printf end");
    const text = readFileSync(path, "utf8");
    expect(payloadOf(text, "stdout")).toBe(`${seq(1, 3000)}end\n`);
    expect(payloadOf(text, "stderr")).toBe(seq(1, 2000));
  });

  test("in JSON records is what docker reads", async () => {
    await using kit = new Kit();
    const { path } = await log(kit, "format=json", "echo out; echo err >&2");
    const records = readFileSync(path, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const byStream = Object.fromEntries(records.map((record) => [record.stream, record.log]));
    expect(byStream).toEqual({ stdout: "out\n", stderr: "err\n" });
    expect(new Date(records[0].time).getTime()).toBeGreaterThan(0);
  });

  test("is put aside at its size, on the border of a record, and nothing is lost between files", async () => {
    await using kit = new Kit();
    const { path, stdio } = await log(kit, "format=cri&max-size=64k&max-files=9", "seq 1 9000");
    const files = filesOf(path);
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) expect(statSync(file).size).toBeLessThanOrEqual(65536);
    for (const file of files) expect(readFileSync(file, "utf8")).toMatch(/^2.*\n$/s);
    expect(payloadOf(textOf(path), "stdout")).toBe(seq(1, 9000));
    expect(stdio.lostBytes).toBe(0);
  });

  test("of raw bytes is put aside between lines, both streams in the order of writing", async () => {
    await using kit = new Kit();
    const script = "for i in $(seq 1 500); do echo out $i; echo err $i >&2; done";
    const { path } = await log(kit, "max-size=2k&max-files=9", script);
    const expected = Array.from({ length: 500 }, (_, at) => `out ${at + 1}\nerr ${at + 1}\n`).join(
      "",
    );
    for (const file of filesOf(path)) expect(statSync(file).size).toBeLessThanOrEqual(2048);
    expect(expected.endsWith(textOf(path))).toBe(true);
    expect(readFileSync(path, "utf8")).toMatch(/^(out|err) \d+\n/);
  });

  test.each([
    [1, ["log"]],
    [3, ["log", "log.1", "log.2"]],
  ])("keeps %d files", async (count, names) => {
    await using kit = new Kit();
    const { path } = await log(kit, `max-size=1k&max-files=${count}`, "seq 1 3000");
    expect(readdirSync(kit.dir).sort()).toEqual(names);
    expect(seq(1, 3000).endsWith(textOf(path))).toBe(true);
    expect(textOf(path)).toMatch(/3000\n$/);
  });

  test("counts what an earlier process has written", async () => {
    await using kit = new Kit();
    const path = join(kit.dir, "log");
    writeFileSync(path, "x".repeat(1000));
    await log(kit, "max-size=1k", "seq 1 20", path);
    expect(readFileSync(`${path}.1`, "utf8").length).toBeLessThanOrEqual(1024);
    expect(textOf(path)).toBe("x".repeat(1000) + seq(1, 20));
  });

  test("grows on where the old one cannot be put aside, with one warning", async () => {
    await using kit = new Kit();
    const path = join(kit.dir, "log");
    mkdirSync(`${path}.1`); // A file cannot take a directory's place.
    await log(kit, "max-size=1k&max-files=2", "seq 1 3000", path);
    expect(readFileSync(path, "utf8")).toBe(seq(1, 3000));
    expect(readdirSync(kit.dir).sort()).toEqual(["log", "log.1"]);
    expect(kit.warnings).toEqual(["Cannot rotate a log"]);
  });

  test("loses no old file while a new one cannot be opened, and goes on rotating later", async () => {
    await using kit = new Kit();
    const path = join(kit.dir, "log");
    using file = new LogFile(path, { format: "raw", maxBytes: 10, maxFiles: 3 }, kit.log);
    const write = (text: string) =>
      file.write([{ bytes: Buffer.from(text), payload: text.length }]);
    const failToRotate = () =>
      withoutDescriptors(async () => {
        for (const text of ["d-------\n", "e-------\n", "f-------\n"]) write(text);
      });
    for (const text of ["a-------\n", "b-------\n", "c-------\n"]) write(text);
    await failToRotate();
    const contents = () => filesOf(path).map((each) => readFileSync(each, "utf8"));
    const grown = "c-------\nd-------\ne-------\nf-------\n";
    expect(contents()).toEqual(["a-------\n", "b-------\n", grown]);
    write("g-------\n");
    expect(contents()).toEqual(["b-------\n", grown, "g-------\n"]);
    expect(readdirSync(kit.dir).sort()).toEqual(["log", "log.1", "log.2"]);
    await failToRotate();
    expect(kit.warnings).toEqual(["Cannot rotate a log", "Cannot rotate a log"]);
  });

  test.each([
    ["succeeds", false],
    ["fails", true],
  ])("does not touch the files of others when its rotation %s", async (_, isBlocked) => {
    await using kit = new Kit();
    const path = join(kit.dir, "log");
    const stale = join(kit.dir, `.log.${process.pid}`);
    writeFileSync(`${path}.new`, "theirs\n");
    writeFileSync(stale, "of a dead process\n");
    if (isBlocked) mkdirSync(`${path}.1`); // A file cannot take a directory's place.
    await log(kit, "max-size=1k&max-files=2", "seq 1 300", path);
    expect(readFileSync(`${path}.new`, "utf8")).toBe("theirs\n");
    expect(existsSync(stale)).toBe(false);
    expect(isBlocked ? readFileSync(path, "utf8") : textOf(path)).toBe(seq(1, 300));
  });

  test("takes a terminal too", async () => {
    await using kit = new Kit();
    const path = join(kit.dir, "log");
    const stdio = await kit.open({ terminal: true, stdout: `file://${path}?format=json` });
    expect(stdio.descriptors().map(({ name }) => name)).toContain("log-file");
    expect(statSync(path).size).toBe(0);
    await stdio.close();
  });

  test("on a full disk loses bytes and not the container, counts them, and has no half record", async () => {
    await using kit = new Kit();
    const disk = join(kit.dir, "disk");
    mkdirSync(disk);
    // Without pipes, whose sockets the engine closes a little later and the kit would take for a leak.
    const quiet = { stdout: "ignore", stderr: "ignore" } as const;
    const mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk];
    expect(Bun.spawnSync(mount, quiet).success).toBe(true);
    using _disk = { [Symbol.dispose]: () => Bun.spawnSync(["umount", "-l", disk], quiet) };
    const path = join(disk, "log");
    const { stdio } = await log(kit, "format=cri", "seq 1 20000; echo end >&2", path);
    const text = readFileSync(path, "utf8");
    const kept = payloadOf(text, "stdout") + payloadOf(text, "stderr");
    expect(text).toMatch(/\n$/);
    const whole = `${seq(1, 20000)}end\n`;
    expect(stdio.lostBytes).toBe(whole.length - kept.length);
    expect(stdio.lostBytes).toBeGreaterThan(0);
    expect(kit.warnings[0]).toBe("Output is refused and lost");
  });

  test.each([
    ["raw bytes", ""],
    ["CRI records", "format=cri"],
    ["JSON records", "format=json"],
    ["raw bytes that are rotated", "max-size=30k&max-files=2"],
  ])(
    "of %s keeps what there is room for, and goes on when a full disk has room again",
    async (_, query) => {
      await using kit = new Kit();
      using disk = new SmallDisk(join(kit.dir, "disk"));
      const [path, go] = [join(disk.path, "log"), join(kit.dir, "go")];
      const stdio = await kit.open({
        stdout: `file://${path}${query && `?${query}`}`,
        stderr: "x",
      });
      const script = `seq 1 20000; : > ${go}.full; until [ -e ${go} ]; do sleep 0.02; done; echo after`;
      const child = await kit.start(stdio, script);
      await kit.until(() => existsSync(`${go}.full`));
      await kit.until(() => stdio.lostBytes > 0);
      disk.makeRoom();
      writeFileSync(go, "");
      expect((await child.exited).status).toBe(0);
      await stdio.drained;
      const lines = textOf(path).trimEnd().split("\n");
      expect(lines.at(-1)).toContain("after");
      const isWhole = (line: string) =>
        query === "format=json" ? JSON.parse(line).log.length > 0 : /\d|after/.test(line);
      expect(lines.every(isWhole)).toBe(true);
      // What there was room for is there.
      if (!query.includes("max-size")) expect(lines[0]).toMatch(/(^| F |"log":")1\b/);
      expect(lines.length).toBeGreaterThan(100);
    },
  );

  test.each([
    ["that another process's output goes to as well keeps the records of both", false],
    ["that was emptied meanwhile begins with a record", true],
  ])("on a full disk %s", async (_, isEmptied) => {
    await using kit = new Kit();
    using disk = new SmallDisk(join(kit.dir, "disk"));
    const path = join(disk.path, "log");
    const options = { format: "raw", maxBytes: undefined, maxFiles: 1 } as const;
    using one = new LogFile(path, options, silentLogger);
    using other = new LogFile(path, options, silentLogger);
    const recordsOf = (name: string, count: number) =>
      Array.from({ length: count }, (_each, at) => {
        const bytes = Buffer.from(`${name} ${at} ${"x".repeat(90)}\n`);
        return { bytes, payload: bytes.length };
      });
    one.write(recordsOf("a", 10));
    other.write(recordsOf("b", 10));
    if (isEmptied) truncateSync(path);
    expect(() => one.write(recordsOf("c", 2000))).toThrow("no space left");
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    const kept = isEmptied ? "" : "a".repeat(10) + "b".repeat(10);
    const names = lines.map((line) => line[0]).join("");
    expect(names.slice(0, kept.length + 1)).toBe(`${kept}c`);
    expect(lines.every((line) => /^[abc] \d+ x{90}$/.test(line))).toBe(true);
    expect(lines.length).toBeGreaterThan(100);
  });

  test("is refused where a file is not a regular one", async () => {
    await using kit = new Kit();
    const opened = kit.open({ stdout: "file:///dev/null?format=cri" });
    await expect(opened).rejects.toThrow(
      "Cannot keep a log in /dev/null: it is not a regular file",
    );
  });

  test("takes 50 MB", async () => {
    await using kit = new Kit();
    const random = kit.random(1 << 20);
    const script = `base64 -w 99 ${random.path} > ${random.path}.txt; for i in 1 2 3 4 5 6 7 8 9 10; do cat ${random.path}.txt ${random.path}.txt ${random.path}.txt; done`;
    const { path } = await log(kit, "format=cri", script);
    const once = readFileSync(`${random.path}.txt`, "utf8");
    const payload = payloadOf(readFileSync(path, "utf8"), "stdout");
    expect(payload.length).toBe(once.length * 30);
    expect(payload).toBe(once.repeat(30));
  }, 60_000);
});
