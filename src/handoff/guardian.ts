/**
 * The process that looks after a shim while it leaves its program for another one
 * (`src/native/guardian.c`), and the table that it is given.
 *
 * The rehearsal shows that the next program can read the document. It cannot show that the program then
 * restores the shim and does not crash, exit or hang: if it does, the guardian makes the process execute
 * the old program again.
 */

import { readFileSync, readSync, writeSync } from "node:fs";
import { messageOf } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import { spawnProcess } from "../linux/children.ts";
import { hasCode, SystemError } from "../linux/errno.ts";
import { type OwnedFd, openMemoryFile, openPipe, writeWhole } from "../linux/fd.ts";
import { SIGCHLD } from "../linux/signals.ts";
import { guardianImage } from "../version.ts";
import type { Addition, Passage } from "./departure.ts";
import { GUARD_VARIABLE, REFUSAL_VARIABLE } from "./variables.ts";

const PROGRAM_LABEL = "wedge-guardian";
const TABLE_LABEL = "wedge-guardian-table";
/** The layout is that of `struct table` in the C source. */
const STATE_BYTES = 4;
const HEADER_BYTES = 48;
const BLOCKED_AT = 40;
const FD_BYTES = 4;
/** For what the guardian tells the program that comes back. */
const REASON_BYTES = 128;
const STATE_TRACED = 1;
/** A program that has not restored the shim after this time has failed; it takes some ten milliseconds. */
const LIMIT_MS = 10_000;
/** How long the guardian may take to begin; it takes a millisecond. */
const BEGIN_LIMIT_MS = 2000;
const LOOK_MS = 1;
const NOBODY = "No guardian looks after this upgrade";
/** The guardian's program among its own descriptors, to be executed by this number. */
const PROGRAM_FD = 5;

/** A guardian that stands by. It exits by itself once this is disposed, and is a stray: nobody waits for it. */
export class Guardian implements Disposable {
  readonly #table: OwnedFd;
  readonly #pipe: OwnedFd;

  private constructor(table: OwnedFd, pipe: OwnedFd) {
    this.#table = table;
    this.#pipe = pipe;
  }

  /**
   * Starts one. Undefined if this wedge has none (`shim doctor` reports that), and if programs in memory may
   * not be executed (sysctl vm.memfd_noexec), or this process may not be traced or is already (`strace`),
   * which is logged: the shim then goes without. Throws SystemError.
   */
  static async summon(log: Logger): Promise<Guardian | undefined> {
    if (guardianImage === "") return undefined;
    try {
      return await Guardian.#start(log);
    } catch (error) {
      if (!hasCode(error, "EACCES", "EPERM")) throw error;
      log.warn(NOBODY, { error: messageOf(error) });
      return undefined;
    }
  }

  static async #start(log: Logger): Promise<Guardian | undefined> {
    using undo = new DisposableStack();
    const program = undo.use(openMemoryFile(PROGRAM_LABEL, { isExecutable: true }));
    writeWhole(program.fd, Buffer.from(guardianImage, "base64"));
    const table = openMemoryFile(TABLE_LABEL);
    undo.use(table);
    writeWhole(table.fd, new Uint8Array(STATE_BYTES));
    const { reader, writer } = openPipe();
    undo.use(writer);
    {
      using pipe = reader;
      spawnProcess({
        path: `/proc/self/fd/${PROGRAM_FD}`,
        argv: [PROGRAM_LABEL],
        env: [],
        stdio: [undefined, undefined, undefined, pipe.fd, table.fd, program.fd],
        leads: "session",
      });
    }
    const state = await readState(table.fd);
    if (state !== STATE_TRACED) {
      const error =
        state === 0 ? "it did not begin in time" : messageOf(new SystemError("ptrace", -state));
      log.warn(NOBODY, { error });
      return undefined;
    }
    program[Symbol.dispose]();
    undo.move();
    return new Guardian(table, writer);
  }

  /** Prepares it for the departure, with the command line of the present program. */
  readonly entrust = (argv: readonly string[]): Addition => {
    const own = [this.#table.fd, this.#pipe.fd];
    const variable = `${GUARD_VARIABLE}=${own.join(":")}`;
    return (passage) => {
      const fds = [...passage.fds, ...own];
      const variables = [...passage.variables, variable];
      writeTable(this.#table.fd, { ...passage, fds, variables, argv });
      return { variable, fds: own };
    };
  };

  [Symbol.dispose](): void {
    this.#table[Symbol.dispose]();
    this.#pipe[Symbol.dispose]();
  }
}

async function readState(table: number): Promise<number> {
  const state = new Int32Array(1);
  const deadline = performance.now() + BEGIN_LIMIT_MS;
  do {
    await Bun.sleep(LOOK_MS);
    readSync(table, state, 0, STATE_BYTES, 0);
  } while (state[0] === 0 && performance.now() < deadline);
  return state[0] ?? 0;
}

function writeTable(
  table: number,
  { fds, variables, argv, image }: Passage & { readonly argv: readonly string[] },
): void {
  // Last, so that what overwrites it moves nothing.
  const entries = [...variables, `${REFUSAL_VARIABLE}=${" ".repeat(REASON_BYTES)}`];
  const text = Buffer.from([...argv, ...entries].map((entry) => `${entry}\0`).join(""));
  const textAt = HEADER_BYTES + fds.length * FD_BYTES;
  const bytes = Buffer.alloc(textAt + text.length);
  const header = [0, bytes.length, LIMIT_MS, image, table];
  header.push(fds.length, argv.length, entries.length);
  header.push(bytes.length - REASON_BYTES - 1, REASON_BYTES);
  header.forEach((value, place) => {
    bytes.writeInt32LE(value, place * FD_BYTES);
  });
  bytes.writeBigUInt64LE(blockedSignals() | (1n << BigInt(SIGCHLD - 1)), BLOCKED_AT);
  fds.forEach((fd, place) => {
    bytes.writeInt32LE(fd, HEADER_BYTES + place * FD_BYTES);
  });
  text.copy(bytes, textAt);
  // The state is the guardian's own.
  writeSync(table, bytes, STATE_BYTES, bytes.length - STATE_BYTES, STATE_BYTES);
}

/** The signals that this thread has blocked, one bit each. */
function blockedSignals(): bigint {
  const [, mask] =
    /^SigBlk:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "latin1")) ?? [];
  return BigInt(`0x${mask ?? "0"}`);
}
