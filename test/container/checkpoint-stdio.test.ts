import { describe, expect, test } from "bun:test";
import { fstatSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  checkpointConfig,
  loadStreamKeys,
  restoreConfig,
  type StreamKeys,
  saveStreamKeys,
  streamKeys,
} from "../../src/container/checkpoint-stdio.ts";
import { openFd } from "../../src/linux/fd.ts";

const two: StreamKeys = new Map([
  [1, "file[1a:2b]"],
  [2, "file[1a:2c]"],
]);
const one: StreamKeys = new Map([
  [1, "file[1a:2b]"],
  [2, "file[1a:2b]"],
]);

function image(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "wedge-image-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

describe("the keys of streams in a checkpoint", () => {
  test("name a file by its mount and inode, in hexadecimal", () => {
    using file = openFd("/proc/self/mounts", 0);
    const inode = fstatSync(file.fd).ino.toString(16);
    const key = streamKeys([{ place: 1, fd: file.fd }]).get(1);
    expect(key).toMatch(/^file\[[0-9a-f]+:[0-9a-f]+\]$/);
    expect(key).toEndWith(`:${inode}]`);
  });

  test("are left out at the checkpoint, each once", () => {
    expect(checkpointConfig(two)).toEqual(["external file[1a:2b]", "external file[1a:2c]"]);
    expect(checkpointConfig(one)).toEqual(["external file[1a:2b]"]);
    expect(checkpointConfig(new Map())).toEqual([]);
  });

  test("are inherited at the restore by the streams of the same place, each once", () => {
    expect(restoreConfig(two).toSorted()).toEqual([
      "inherit-fd fd[1]:file[1a:2b]",
      "inherit-fd fd[2]:file[1a:2c]",
    ]);
    expect(restoreConfig(one)).toEqual(["inherit-fd fd[1]:file[1a:2b]"]);
  });

  test("go with the image, and an image that is written again keeps none of the old ones", () => {
    using dir = image();
    saveStreamKeys(dir.path, two);
    expect(loadStreamKeys(dir.path)).toEqual(two);
    saveStreamKeys(dir.path, new Map());
    expect(readdirSync(dir.path)).toEqual([]);
  });

  test.each(["", "/proc/no-such-directory/x", "/x\0y"])(
    "are refused for an image at %j where there are any to write",
    (path) => {
      expect(() => saveStreamKeys(path, two)).toThrow(/^Cannot write a checkpoint to/);
    },
  );

  test.each([
    ["no JSON", "{"],
    ["another version", JSON.stringify({ version: 2, streams: { 1: "file[1:1]" } })],
    [
      "another option",
      JSON.stringify({ version: 1, streams: { 1: "file[1:1]\naction-script /x" } }),
    ],
    ["no text", JSON.stringify({ version: 1, streams: { 1: 7 } })],
    ["no streams", JSON.stringify({ version: 1 })],
    ["another place", JSON.stringify({ version: 1, streams: { 3: "file[1:1]" } })],
  ])("are none where the image's file holds %s", (_, text) => {
    using dir = image();
    writeFileSync(join(dir.path, "wedge-streams.json"), text);
    expect(loadStreamKeys(dir.path).size).toBe(0);
  });
});
