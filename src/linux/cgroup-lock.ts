/**
 * The kernel's lock for moving processes between cgroups (`cgroup_threadgroup_rwsem`), taken ahead of need.
 *
 * Each fork and exit takes it for reading, which costs nothing as long as no process has been moved for a while.
 * The first move after that has to wait until all processors know of it: an RCU grace period, of some 10 ms,
 * which is a third of the time that a runtime takes to create or to enter a container. So while the runtime is
 * still starting, a thread of this process makes such a move, to the cgroup where it is already, and waits in
 * the runtime's place: the moves that follow within a few milliseconds find the lock ready. Where cgroups are
 * mounted with `favordynmods` it always is.
 */

import { type Pointer, ptr } from "bun:ffi";
import { existsSync } from "node:fs";
import { rejoinImage } from "../version.ts";
import { cStringArray } from "./bytes.ts";
import { CLONE_FILES, CLONE_VM } from "./copy.ts";
import { SystemError } from "./errno.ts";
import { copyTable } from "./libc.ts";
import { mapMemory } from "./mapping.ts";
import { loadNativeCode } from "./native-code.ts";
import { holdSignals } from "./signals.ts";

/** A mounted hierarchy of cgroups (cgroups(7)). */
export interface Hierarchy {
  readonly mountPoint: string;
  /** What follows the number in its line of /proc/PID/cgroup, up to the path. */
  readonly key: string;
}

/** Where hierarchies usually are. One is as good as another: the lock is the same. */
const USUAL_HIERARCHIES: readonly (Hierarchy & { readonly file: string })[] = [
  { mountPoint: "/sys/fs/cgroup", key: "::", file: "cgroup.controllers" },
  { mountPoint: "/sys/fs/cgroup/unified", key: "::", file: "cgroup.controllers" },
  { mountPoint: "/sys/fs/cgroup/pids", key: ":pids:", file: "cgroup.procs" },
  { mountPoint: "/sys/fs/cgroup/systemd", key: ":name=systemd:", file: "cgroup.procs" },
];

let rejoining: Rejoining | undefined;
let isPossible = rejoinImage !== "";

/**
 * To be called before a runtime is started that will move a process to a cgroup. Returns at once. Where it can
 * do nothing, all that is lost is time.
 */
export function expectCgroupMove(): void {
  if (!isPossible) return;
  try {
    rejoining ??= prepare();
    rejoining?.start();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    rejoining = undefined;
  }
  isPossible = rejoining !== undefined;
}

function prepare(): Rejoining | undefined {
  const usual = USUAL_HIERARCHIES.find(({ mountPoint, file }) =>
    existsSync(`${mountPoint}/${file}`),
  );
  return usual && new Rejoining(rejoinImage, usual);
}

const CLONE_FS = 0x200;
const CLONE_SIGHAND = 0x800;
const CLONE_THREAD = 0x1_0000;
const CLONE_SYSVSEM = 0x4_0000;
const CLONE_PARENT_SETTID = 0x10_0000;
const CLONE_CHILD_CLEARTID = 0x20_0000;
/** Nobody waits for a thread. The kernel keeps its id in memory for as long as it runs. */
const THREAD = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
const THREAD_ID = CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
const STACK_BYTES = 16 * 1024;

/** Moves of this process to where it is, one at a time. What they run on is there until the process ends. */
export class Rejoining {
  readonly #entry: Pointer;
  readonly #stackTop: Pointer;
  readonly #hierarchy: Uint8Array;
  readonly #threadId = new Int32Array(1);

  /** `image`: src/native/rejoin.c, in base64. Throws SystemError where the kernel allows no memory or no new code. */
  constructor(image: string, { key, mountPoint }: Hierarchy) {
    this.#entry = loadNativeCode(image);
    this.#stackTop = (mapMemory(STACK_BYTES).address + STACK_BYTES) as Pointer;
    this.#hierarchy = cStringArray([key, mountPoint]).bytes;
  }

  get isRunning(): boolean {
    return this.#threadId[0] !== 0;
  }

  /** Begins one, unless one is running. At the limit of processes there is none, and it is not missed. */
  start(): void {
    if (this.isRunning) return;
    const id = ptr(this.#threadId);
    // A handler would run on a stack that is not made for it, and the engine's do not expect this thread.
    using _held = holdSignals();
    const { clone } = copyTable();
    clone(this.#entry, this.#stackTop, THREAD | THREAD_ID, ptr(this.#hierarchy), id, null, id);
  }
}
