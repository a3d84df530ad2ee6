import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isContainerd2 } from "../../../src/command/start/containerd-build.ts";

/** An ELF file with one section of note, as Go's linker lays it out. */
function elfWith(section: string, content: string): Buffer {
  const names = Buffer.from(`\0.shstrtab\0${section}\0`);
  const body = Buffer.from(content);
  const tableAt = 64 + names.length + body.length;
  const header = Buffer.alloc(64);
  header.write("\x7fELF\x02\x01\x01", "latin1");
  header.writeBigUInt64LE(BigInt(tableAt), 40);
  header.writeUInt16LE(64, 58);
  header.writeUInt16LE(3, 60);
  header.writeUInt16LE(1, 62);
  const table = Buffer.alloc(3 * 64);
  const entry = (index: number, name: number, offset: number, size: number) => {
    table.writeUInt32LE(name, index * 64);
    table.writeBigUInt64LE(BigInt(offset), index * 64 + 24);
    table.writeBigUInt64LE(BigInt(size), index * 64 + 32);
  };
  entry(1, 1, 64, names.length);
  entry(2, 11, 64 + names.length, body.length);
  return Buffer.concat([header, names, body, table]);
}

describe("isContainerd2()", () => {
  const v2 =
    "\xff Go buildinf:go1.24\0path\tgithub.com/containerd/containerd/v2/cmd/containerd\nmod\t";
  const cut = elfWith(".go.buildinfo", v2);
  test.each<[string, Buffer, boolean]>([
    ["containerd 2", elfWith(".go.buildinfo", v2), true],
    ["containerd 1", elfWith(".go.buildinfo", v2.replace("/v2", "")), false],
    [
      "a program with containerd 2 inside",
      elfWith(".go.buildinfo", "path\tk3s\ndep\tgithub.com/containerd/containerd/v2\tv2.0.0\n"),
      false,
    ],
    ["no Go program", elfWith(".comment", v2), false],
    ["a script", Buffer.from("#!/bin/sh\nexec containerd\n"), false],
    ["an empty file", Buffer.alloc(0), false],
    ["a file cut short", cut.subarray(0, cut.length - 100), false],
  ])("%s: %#", (_name, bytes, wanted) => {
    const directory = mkdtempSync(join(tmpdir(), "wedge-"));
    const path = join(directory, "exe");
    writeFileSync(path, bytes);
    expect(isContainerd2(path)).toBe(wanted);
    rmSync(directory, { recursive: true });
  });

  test("a process that is gone is not", () => {
    expect(isContainerd2("/proc/0/exe")).toBe(false);
  });
});
