/** Claiming the address of a shim: by one process at a time, as long as unix(7) allows. */

import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { OwnedFd } from "../../src/linux/fd.ts";
import { claimListener, socketPath } from "../../src/linux/listener.ts";
import { connectBun } from "../../src/rpc/ttrpc/bun.ts";

class Directory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "wedge-"));

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}

function claim(path: string): OwnedFd {
  const claimed = claimListener(path);
  if (claimed === "taken") throw new Error("nobody was there");
  return claimed;
}

test("a socket that listens is taken, a file that does not is replaced", () => {
  using directory = new Directory();
  const path = join(directory.path, "x");
  using first = claim(path);
  expect(claimListener(path)).toBe("taken");
  first[Symbol.dispose]();
  expect(existsSync(path)).toBe(true);
  claim(path)[Symbol.dispose]();
});

test("a path has as many bytes as the kernel has room for, and no more", async () => {
  using directory = new Directory();
  // The longest socket directory that containerd allows, and the name of a shim's socket.
  const path = join(`${directory.path}/`.padEnd(42, "d"), "a".repeat(64));
  using listener = claim(path);
  expect(socketPath(listener.fd)).toBe(path);
  (await connectBun({ unix: path }))[Symbol.dispose]();
  expect(() => claimListener(`${path}a`)).toThrow("108 bytes where 107 are the limit");
});
