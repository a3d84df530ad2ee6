/** Rootfs, work directory and pid files of a bundle, by name. */

import { join } from "node:path";

/** Paths inside one bundle. Nothing here touches the disk. */
export class Bundle {
  readonly path: string;

  /** `path` is absolute. */
  constructor(path: string) {
    this.path = path;
  }

  /** Where rootfs mounts go; the runtime reads `root.path` of config.json, which points here. */
  get rootfs(): string {
    return join(this.path, "rootfs");
  }

  /** containerd's link to the directory that outlives a reboot of its state directory. */
  get work(): string {
    return join(this.path, "work");
  }

  get initPidFile(): string {
    return join(this.path, "init.pid");
  }

  /** An exec may have any id, even the name of another file of the bundle. */
  execPidFile(execId: string): string {
    return join(this.path, `exec-${execId}.pid`);
  }
}
