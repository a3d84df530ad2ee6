import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEventfd, takeEventfd } from "../../src/linux/eventfd.ts";
import { writeFd } from "../../src/linux/fd.ts";
import { addInotifyWatch, IN_MODIFY, openInotify, takeInotify } from "../../src/linux/inotify.ts";
import { Poller } from "../../src/linux/poller.ts";

const IN_IGNORED = 0x8000;

const UNIFIED = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].find((path) =>
  existsSync(`${path}/cgroup.controllers`),
);

describe("takeEventfd()", () => {
  test("gives the sum of what was added, once", () => {
    using eventfd = openEventfd();
    expect(takeEventfd(eventfd.fd)).toBe(0);
    for (const value of [2n, 5n]) {
      writeFd(eventfd.fd, new Uint8Array(new BigUint64Array([value]).buffer));
    }
    expect(takeEventfd(eventfd.fd)).toBe(7);
    expect(takeEventfd(eventfd.fd)).toBe(0);
  });
});

describe("takeInotify()", () => {
  test("gives the changes of a file until it is deleted", () => {
    const directory = mkdtempSync(join(tmpdir(), "wedge-inotify-"));
    const file = join(directory, "f".repeat(200));
    writeFileSync(file, "");
    using inotify = openInotify();
    addInotifyWatch(inotify.fd, file, IN_MODIFY);
    expect(takeInotify(inotify.fd)).toBe(0);
    writeFileSync(file, "x");
    expect(takeInotify(inotify.fd)).toBe(IN_MODIFY);
    rmSync(directory, { recursive: true });
    // The kernel drops the watch by itself, and says so without being asked.
    expect(takeInotify(inotify.fd)).toBe(IN_IGNORED);
  });

  test("takes a full queue of named events at once", () => {
    const directory = mkdtempSync(join(tmpdir(), "wedge-inotify-"));
    using inotify = openInotify();
    addInotifyWatch(inotify.fd, directory, IN_MODIFY);
    for (let index = 0; index < 100; index++) {
      writeFileSync(join(directory, `${"n".repeat(200)}${index}`), "x");
    }
    expect(takeInotify(inotify.fd)).toBe(IN_MODIFY);
    expect(takeInotify(inotify.fd)).toBe(0);
    rmSync(directory, { recursive: true });
  });

  test("a file that is not there is ENOENT, named by its path", () => {
    using inotify = openInotify();
    expect(() => addInotifyWatch(inotify.fd, "/no/such", IN_MODIFY)).toThrow(
      "inotify_add_watch /no/such: no such file or directory",
    );
  });

  test.skipIf(UNIFIED === undefined)(
    "the kernel tells of its own changes to a cgroup's file",
    async () => {
      const cgroup = join(UNIFIED ?? "", `wedge-test-inotify-${process.pid}`);
      mkdirSync(cgroup);
      await using child = Bun.spawn(["sleep", "60"]);
      try {
        using poller = new Poller();
        using inotify = openInotify();
        addInotifyWatch(inotify.fd, join(cgroup, "cgroup.events"), IN_MODIFY);
        const { promise, resolve } = Promise.withResolvers<number>();
        using _watch = poller.watch(inotify.fd, { readable: true }, () =>
          resolve(takeInotify(inotify.fd)),
        );
        writeFileSync(join(cgroup, "cgroup.procs"), String(child.pid));
        expect(await promise).toBe(IN_MODIFY);
      } finally {
        child.kill(9);
        await child.exited;
        rmdirSync(cgroup);
      }
    },
  );
});
