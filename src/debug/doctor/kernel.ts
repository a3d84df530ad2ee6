/** Whether the kernel has what wedge uses, found out by using it. */

import { release } from "node:os";
import { messageOf } from "../../base/error.ts";
import { cloneMount } from "../../linux/detached-mount.ts";
import { openMemoryFile } from "../../linux/fd.ts";
import { openPidfd } from "../../linux/pidfd.ts";
import { readText } from "../../linux/text-file.ts";
import { guardianImage, sleeperImage } from "../../version.ts";
import { broken, type Finding, note, ok } from "./finding.ts";

/** clone3(2), pidfds and waiting on them: without these a process is identified only by its pid. */
const PIDFD_KERNEL = "5.3";
const MOUNT_KERNEL = "5.2";

/** All findings about the kernel. */
export function checkKernel(): readonly Finding[] {
  return [
    checkPidfd(),
    checkDetachedMounts(),
    checkMemoryFiles(),
    checkUpgrade(),
    checkSleep(),
    checkSecurity(),
    checkUser(),
  ];
}

function checkPidfd(): Finding {
  const check = "kernel-pidfd";
  try {
    using pidfd = openPidfd(process.pid);
    if (pidfd !== undefined) return ok(check, `Linux ${release()} has pidfds`);
  } catch {
    // Reported below.
  }
  return note(
    check,
    `Linux ${release()} has no pidfds: exits are matched by pid`,
    `use Linux ${PIDFD_KERNEL} or newer`,
  );
}

function checkDetachedMounts(): Finding {
  const check = "kernel-mounts";
  try {
    using _tree = cloneMount("/", { recursive: false });
    return ok(check, "detached mounts work: id-mapped and long overlay mounts can be made");
  } catch (error) {
    return note(
      check,
      `detached mounts do not work (${messageOf(error)}): id-mapped mounts cannot be made`,
      `run as root with CAP_SYS_ADMIN on Linux ${MOUNT_KERNEL} or newer, if containers need them`,
    );
  }
}

function checkMemoryFiles(): Finding {
  const check = "kernel-memfd";
  try {
    using _file = openMemoryFile("wedge-doctor");
    return ok(check, "memory files work: a shim can hand its state over");
  } catch (error) {
    return broken(
      check,
      `memory files do not work (${messageOf(error)}): a shim can neither sleep nor be upgraded`,
      "allow memfd_create(2), for instance in the seccomp profile of what starts containerd",
    );
  }
}

function checkSecurity(): Finding {
  const check = "security";
  const seccomp = readText("/proc/sys/kernel/seccomp/actions_avail") !== undefined;
  const appArmor = readText("/sys/module/apparmor/parameters/enabled")?.trim() === "Y";
  const selinux = readText("/sys/fs/selinux/enforce") !== undefined;
  const modules = [appArmor ? "AppArmor" : "", selinux ? "SELinux" : ""].filter(Boolean);
  const named = modules.length > 0 ? modules.join(" and ") : "no AppArmor or SELinux";
  if (seccomp) return ok(check, `seccomp and ${named}`);
  return note(
    check,
    `no seccomp, ${named}: containers that ask for a profile fail`,
    "use a kernel with CONFIG_SECCOMP_FILTER, or containers without a profile",
  );
}

function checkUser(): Finding {
  const check = "user";
  const user = process.geteuid?.() ?? 0;
  if (user === 0) return ok(check, "run as root: all shims can be seen");
  return note(
    check,
    `run as user ${user}: sockets, memory and bundles of other users' shims cannot be seen`,
    "run it as root to see everything",
  );
}

function checkUpgrade(): Finding {
  const check = "upgrade";
  if (guardianImage !== "")
    return ok(
      check,
      "a guardian takes a shim back from a program that crashes while it restores it",
    );
  return note(
    check,
    "this wedge has no guardian: a program that crashes while it restores a shim ends the shim",
    "on x86-64, build it with a C compiler: apt install gcc",
  );
}

function checkSleep(): Finding {
  const check = "sleep";
  if (sleeperImage !== "") return ok(check, "this wedge can sleep (WEDGE_SLEEP_AFTER_SECONDS)");
  return note(
    check,
    "this wedge was built without a C compiler and cannot sleep",
    "build it with one, if idle shims are to cost only kilobytes: apt install gcc",
  );
}
