import { expect, test } from "bun:test";
import { mountsBelow, readMountInfo, readMountsBelow } from "../../src/linux/mount.ts";
import { parseMountInfo } from "../../src/linux/mountinfo.ts";

const text = [
  "22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/root rw",
  "36 22 98:0 /mnt1 /mnt\\0402 ro,noatime shared:7 master:3 propagate_from:2 - ext3 /dev/a\\134b rw,errors=continue",
  "37 22 0:30 / /mnt rw - tmpfs none rw,size=64k",
  "38 37 0:31 / /mnt/a\\011b\\012c rw unbindable - proc proc rw",
  "39 22 0:32 / /mnt3 rw - tmpfs  rw",
  "nonsense",
  "",
].join("\n");

test("parseMountInfo() reads tags, escapes and empty sources; other lines are left out", () => {
  const infos = parseMountInfo(text);
  expect(infos.map(({ id }) => id)).toEqual([22, 36, 37, 38, 39]);
  expect(infos[1]).toEqual({
    id: 36,
    parentId: 22,
    root: "/mnt1",
    mountPoint: "/mnt 2",
    options: ["ro", "noatime"],
    peerGroup: 7,
    masterGroup: 3,
    isUnbindable: false,
    type: "ext3",
    source: "/dev/a\\b",
    superOptions: "rw,errors=continue",
  });
  expect(infos[3]).toMatchObject({ mountPoint: "/mnt/a\tb\nc", isUnbindable: true });
  expect(infos[4]).toMatchObject({ source: "", superOptions: "rw" });
});

test("mountsBelow() tells a directory from others with the same beginning", () => {
  const infos = parseMountInfo(text);
  expect(mountsBelow("/mnt", infos).map(({ id }) => id)).toEqual([37, 38]);
  expect(mountsBelow("/", infos)).toHaveLength(5);
  expect(mountsBelow("/nowhere", infos)).toEqual([]);
});

test("readMountInfo() knows the root", () => {
  expect(readMountInfo().some(({ mountPoint }) => mountPoint === "/")).toBe(true);
});

test("readMountsBelow() finds what all mounts of this machine say, by name", () => {
  const all = readMountInfo();
  for (const point of new Set(all.map(({ mountPoint }) => mountPoint))) {
    expect(readMountsBelow(point)).toEqual(mountsBelow(point, all));
  }
  expect(readMountsBelow("/nowhere/at/all")).toEqual([]);
});
