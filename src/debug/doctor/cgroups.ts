/** Which cgroups this host has, and whether the controllers that containers need are there. */

import { existsSync } from "node:fs";
import { readText } from "../../linux/text-file.ts";
import { broken, type Finding, note, ok } from "./finding.ts";

/** The controllers behind limits and figures of containers; v1 needs the last two for pause and for devices. */
const WANTED_V2 = ["cpu", "memory", "pids", "io"];
const WANTED_V1 = ["cpu", "memory", "pids", "blkio", "freezer", "devices"];

/** `root` is /sys/fs/cgroup, or a fixture. */
export function checkCgroups(root = "/sys/fs/cgroup"): readonly Finding[] {
  const controllers = readText(`${root}/cgroup.controllers`);
  if (controllers !== undefined) {
    return [
      ok("cgroup-mode", "cgroup v2"),
      checkControllers(controllers.trim().split(" "), WANTED_V2, "cgroup.subtree_control"),
    ];
  }
  const present = WANTED_V1.filter((name) => existsSync(`${root}/${name}`));
  if (present.length === 0) {
    return [
      broken(
        "cgroup-mode",
        `no cgroup file system at ${root}`,
        "mount it: mount -t cgroup2 cgroup2 /sys/fs/cgroup",
      ),
    ];
  }
  const isHybrid = existsSync(`${root}/unified`);
  return [
    isHybrid
      ? note(
          "cgroup-mode",
          "cgroup v1 alongside v2 (hybrid); crun before 1.9 refuses that",
          "boot with systemd.unified_cgroup_hierarchy=1 for v2, or use runc",
        )
      : ok("cgroup-mode", "cgroup v1"),
    checkControllers(present, WANTED_V1, "the kernel's command line (cgroup_enable=)"),
  ];
}

function checkControllers(
  present: readonly string[],
  wanted: readonly string[],
  where: string,
): Finding {
  const check = "cgroup-controllers";
  const missing = wanted.filter((name) => !present.includes(name));
  if (missing.length === 0) return ok(check, `controllers ${wanted.join(", ")}`);
  return broken(
    check,
    `controllers ${missing.join(", ")} are missing: limits and figures of them fail`,
    `enable them in ${where}`,
  );
}
