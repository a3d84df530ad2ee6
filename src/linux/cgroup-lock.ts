/**
 * The kernel's lock for moving processes between cgroups (`cgroup_threadgroup_rwsem`), taken ahead of need.
 *
 * Each fork and exit takes it for reading, which costs nothing as long as no process has been moved for a while.
 * The first move after that has to wait until all processors know of it: an RCU grace period, of some 10 ms,
 * which is a third of the time that a runtime takes to create or to enter a container. So while the runtime is
 * still starting, a copy of this process makes such a move, to the cgroup where it is already, and waits in the
 * runtime's place: the moves that follow within a few milliseconds do not wait.
 *
 * Where the kernel expedites grace periods none of this is needed, and the copy would only hold up those who fork.
 */

import { existsSync } from "node:fs";
import { rejoinImage } from "../version.ts";
import type { Children } from "./children.ts";
import type { Hierarchy } from "./copy.ts";
import { SystemError } from "./errno.ts";
import { readText } from "./text-file.ts";

/** Where a hierarchy may be mounted. */
interface Place extends Hierarchy {
  /** A file that is there if it is. */
  readonly file: string;
}

const UNIFIED: Place = {
  mountPoint: "/sys/fs/cgroup",
  key: "::",
  file: "cgroup.controllers",
};

/** One is as good as another: the lock is the same. */
const USUAL_PLACES: readonly Place[] = [
  UNIFIED,
  { mountPoint: "/sys/fs/cgroup/unified", key: "::", file: "cgroup.controllers" },
  { mountPoint: "/sys/fs/cgroup/pids", key: ":pids:", file: "cgroup.procs" },
  { mountPoint: "/sys/fs/cgroup/systemd", key: ":name=systemd:", file: "cgroup.procs" },
];

interface CgroupLockOptions {
  /** src/native/rejoin.c, in base64; "" where there was no C compiler for it. */
  readonly image?: string;
  /** Where to look for hierarchies. */
  readonly places?: readonly Place[];
  /** Where the kernel says how it waits for grace periods. */
  readonly kernelDirectory?: string;
}

/** One for all containers of a shim. */
export class CgroupLock {
  readonly #children: Children;
  readonly #image: string;
  readonly #place: Place | undefined;
  readonly #kernelDirectory: string;
  #isExpedited: boolean | undefined;
  #isExpecting = false;

  constructor(
    children: Children,
    {
      image = rejoinImage,
      places = USUAL_PLACES,
      kernelDirectory = "/sys/kernel",
    }: CgroupLockOptions = {},
  ) {
    this.#children = children;
    this.#image = image;
    this.#place = image === "" ? undefined : places.find(isMounted);
    this.#kernelDirectory = kernelDirectory;
  }

  /** Whether version 2 is alone: there a process can be made in its cgroup, without a move (clone3(2)). */
  get isUnified(): boolean {
    return this.#place === UNIFIED;
  }

  /**
   * To be called when a runtime is about to be started that will move a process to a cgroup. Returns at once; where
   * nothing can be done, all that is lost is time.
   */
  expectMove(): void {
    if (this.#place === undefined || this.#isExpecting) return;
    this.#isExpedited ??= isExpedited(this.#kernelDirectory);
    if (this.#isExpedited) return;
    const task = { call: "rejoin", image: this.#image, hierarchy: this.#place } as const;
    try {
      const { exited } = this.#children.copy(task);
      this.#isExpecting = true;
      void exited.then(() => {
        this.#isExpecting = false;
      });
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    }
  }
}

function isMounted({ mountPoint, file }: Place): boolean {
  return existsSync(`${mountPoint}/${file}`);
}

/** Whether grace periods take microseconds (kernel-parameters, rcupdate.rcu_expedited and rcupdate.rcu_normal). */
function isExpedited(kernelDirectory: string): boolean {
  const isSet = (name: string) => (readText(`${kernelDirectory}/${name}`)?.trim() ?? "0") !== "0";
  return isSet("rcu_expedited") && !isSet("rcu_normal");
}
