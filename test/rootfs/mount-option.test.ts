import { describe, expect, test } from "bun:test";
import { ShimError } from "../../src/base/error.ts";
import {
  MS_BIND,
  MS_NOATIME,
  MS_NODEV,
  MS_NOSUID,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
} from "../../src/linux/mount.ts";
import { parseMountOptions } from "../../src/rootfs/mount-option.ts";
import {
  commonDirectory,
  compactLayers,
  joinLayers,
  splitLayers,
} from "../../src/rootfs/overlay-option.ts";

describe("parseMountOptions()", () => {
  test.each([
    { options: [], flags: 0, data: [] },
    { options: ["defaults", ""], flags: 0, data: [] },
    { options: ["bind", "ro"], flags: MS_BIND | MS_RDONLY, data: [] },
    { options: ["rbind", "rw"], flags: MS_BIND | MS_REC, data: [] },
    { options: ["ro", "rw"], flags: 0, data: [] },
    { options: ["rw", "ro"], flags: MS_RDONLY, data: [] },
    { options: ["nosuid", "nodev", "suid"], flags: MS_NODEV, data: [] },
    {
      options: ["sync", "noatime", "strictatime"],
      flags: MS_SYNCHRONOUS | MS_NOATIME | MS_STRICTATIME,
      data: [],
    },
    { options: ["sync", "async", "nosuid"], flags: MS_NOSUID, data: [] },
    { options: ["size=64k", "mode=700"], flags: 0, data: ["size=64k", "mode=700"] },
    { options: ["volatile", "lowerdir=/a"], flags: 0, data: ["volatile", "lowerdir=/a"] },
    { options: ["fsync=volatile"], flags: 0, data: ["fsync=volatile"] },
    { options: ["direct-io"], flags: 0, data: ["direct-io"] },
  ])("$options", ({ options, flags, data }) => {
    expect(parseMountOptions(options)).toEqual({
      flags,
      data,
      propagation: [],
      loop: undefined,
      idMapping: undefined,
    });
  });

  test("propagation is kept apart from the flags, in order, and does not make a bind recursive", () => {
    const { flags, propagation } = parseMountOptions(["bind", "rprivate", "slave"]);
    expect(flags).toBe(MS_BIND);
    expect(propagation).toEqual([MS_PRIVATE | MS_REC, MS_SLAVE]);
  });

  test("loop takes direct-io out of the data", () => {
    expect(parseMountOptions(["direct-io", "loop", "data=journal"])).toMatchObject({
      loop: { directIo: true },
      data: ["data=journal"],
    });
    expect(parseMountOptions(["loop"]).loop).toEqual({ directIo: false });
  });

  test("an id mapping is lists of ranges", () => {
    const { idMapping, data } = parseMountOptions([
      "uidmap=0:1000:10,10:5000:1",
      "gidmap=0:2000:65536",
    ]);
    expect(data).toEqual([]);
    expect(idMapping).toEqual({
      uids: [
        { inside: 0, outside: 1000, count: 10 },
        { inside: 10, outside: 5000, count: 1 },
      ],
      gids: [{ inside: 0, outside: 2000, count: 65536 }],
    });
  });

  test.each([
    [["uidmap=0:1:1"]],
    [["gidmap=0:1:1"]],
    [["uidmap=0:1", "gidmap=0:1:1"]],
    [["uidmap=0:1:1:1", "gidmap=0:1:1"]],
    [["uidmap=", "gidmap=0:1:1"]],
    [["uidmap=0:1:0", "gidmap=0:1:1"]],
    [["uidmap=-1:1:1", "gidmap=0:1:1"]],
    [["uidmap=0:4294967295:1", "gidmap=0:1:1"]],
    [["X-containerd.mkdir.path=/x"]],
  ])("%j is refused", (options) => {
    expect(() => parseMountOptions(options)).toThrow(ShimError);
    expect(() => parseMountOptions(options)).toThrow(
      expect.objectContaining({ reason: "invalidArgument" }),
    );
  });
});

describe("splitLayers()", () => {
  test.each([
    { lowerdir: "/a", lower: ["/a"], dataOnly: [] },
    { lowerdir: "/a:/b:/c", lower: ["/a", "/b", "/c"], dataOnly: [] },
    { lowerdir: "/a:/b::/c::/d", lower: ["/a", "/b"], dataOnly: ["/c", "/d"] },
    { lowerdir: "/a\\:b:/c\\\\d", lower: ["/a:b", "/c\\d"], dataOnly: [] },
  ])("$lowerdir comes apart and together again", ({ lowerdir, lower, dataOnly }) => {
    const option = `lowerdir=${lowerdir}`;
    const layers = splitLayers(["index=off", option, "upperdir=/u"]);
    expect(layers).toEqual({ lower, dataOnly, rest: ["index=off", "upperdir=/u"] });
    expect(joinLayers(lower, dataOnly)).toBe(option);
  });

  test("there are none without lowerdir", () => {
    expect(splitLayers(["upperdir=/u"])).toBeUndefined();
  });
});

describe("commonDirectory()", () => {
  test.each([
    [["/s/10/fs", "/s/11/fs", "/s/2/fs"], "/s"],
    [["/s/10/fs"], "/s/10"],
    [["/s/1/fs", "/s/12/fs"], "/s"],
    [["/s/a", "/s/a/b"], "/s"],
    [["/a/x", "/b/x"], undefined],
    [["/a"], undefined],
    [["a/x", "a/y"], undefined],
    [["/s//1/fs", "/s/./2/fs"], "/s"],
    [[], undefined],
  ])("of %j is %p", (paths, directory) => {
    expect(commonDirectory(paths)).toBe(directory);
  });
});

test("compactLayers() keeps order, data-only layers and other options", () => {
  expect(
    compactLayers({ lower: ["/s/9/fs", "/s/10/fs"], dataOnly: ["/s/x:y"], rest: ["upperdir=/u"] }),
  ).toEqual({ directory: "/s", data: ["upperdir=/u", "lowerdir=9/fs:10/fs::x\\:y"] });
  expect(compactLayers({ lower: ["/a/b", "/c/d"], dataOnly: [], rest: [] })).toBeUndefined();
});
