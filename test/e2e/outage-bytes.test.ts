/** Bytes read by alternating slow readers while containerd comes and goes: compared by checksum. */

import { expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { LONG_LIMIT_MS, matrix, type Scene } from "./matrix.ts";

const BYTES = 6 << 20;
/** What a reader takes before it leaves. */
const TURN_BYTES = 900_000;
const PIECE_BYTES = 20_000;
const PAUSE_MS = 10;

/** A detached container that prints `/data` once `/go` is there; returns its id and its stdout's FIFO. */
async function startPrinter(scene: Scene, isTerminal: boolean) {
  const id = scene.id();
  const { daemon } = scene;
  const directory = daemon.inside("tmp", `fifos-${id}`);
  mkdirSync(daemon.sandbox.path(directory));
  const raw = isTerminal ? "stty raw -echo; " : "";
  const script = `${raw}until [ -e /go ]; do sleep 0.02; done; cat /data; exit 4`;
  const flags = ["-d", ...(isTerminal ? ["-t"] : []), "--fifo-dir", directory];
  const args = scene.run(id, ["sh", "-c", script], { flags });
  // `ctr run -t` wants a terminal of its own, also where it leaves at once.
  if (isTerminal) expect(await daemon.terminal(args).finish()).toBe(0);
  else await daemon.ctr(...args);
  const [inner = ""] = readdirSync(daemon.sandbox.path(directory));
  return { id, stdout: daemon.sandbox.path(join(directory, inner, `${id}-stdout`)) };
}

function isAgain(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EAGAIN";
}

/** One reader: takes about `limit` bytes, slowly, and leaves. Whether it has come to the end. */
async function readTurn(
  path: string,
  limit: number,
  take: (piece: Uint8Array) => void,
): Promise<boolean> {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const piece = new Uint8Array(PIECE_BYTES);
    for (let count = 0; count < limit; ) {
      try {
        const length = readSync(fd, piece);
        if (length === 0) return true;
        take(piece.subarray(0, length));
        count += length;
      } catch (error) {
        if (!isAgain(error)) throw error;
        await Bun.sleep(PAUSE_MS);
      }
      if (Math.floor(count / PIECE_BYTES) % 10 === 0) await Bun.sleep(PAUSE_MS);
    }
    return false;
  } finally {
    closeSync(fd);
  }
}

matrix("bytes in an outage", { versions: "all", runtimes: ["wedge"] }, (scene) => {
  test.each([
    ["a FIFO", false],
    ["a terminal", true],
  ])(
    "by %s all arrive, in order and once, at readers that come and go",
    async (_kind, isTerminal) => {
      const { daemon } = scene;
      const { id, stdout } = await startPrinter(scene, isTerminal);
      const data = randomBytes(BYTES);
      const pid = await daemon.taskPid(id);
      const root = daemon.sandbox.path(`/proc/${pid}/root`);
      writeFileSync(join(root, "data"), data);
      writeFileSync(join(root, "go"), "");
      const received = createHash("sha256");
      let count = 0;
      let hasEnded = false;
      for (let turn = 0; !hasEnded; turn++) {
        if (turn === 2) await daemon.kill();
        if (turn === 4) await daemon.resume();
        hasEnded = await readTurn(stdout, TURN_BYTES, (piece) => {
          received.update(piece);
          count += piece.length;
        });
      }
      expect(count).toBe(BYTES);
      expect(received.digest("hex")).toBe(createHash("sha256").update(data).digest("hex"));
      await daemon.waitForStatus(id, "STOPPED");
      expect(await daemon.removeTask(id)).toBe(4);
      await scene.remove(id);
      await Bun.$`rm -r ${daemon.outside("tmp", `fifos-${id}`)}`;
    },
    LONG_LIMIT_MS,
  );
});
