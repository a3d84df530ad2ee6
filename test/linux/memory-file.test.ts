/** Executing memory files, on systems that restrict them. */

import { expect, test } from "bun:test";
import { join } from "node:path";

const FD = join(import.meta.dir, "../../src/linux/fd.ts");
const SYSCTL = "/proc/sys/vm/memfd_noexec";
/** Makes one of /bin/true and executes it; prints the exit code. */
const PROGRAM = `
  import { readFileSync } from "node:fs";
  import { openMemoryFile, writeWhole } from ${JSON.stringify(FD)};
  const file = openMemoryFile("test", { isExecutable: true });
  writeWhole(file.fd, readFileSync("/bin/busybox"));
  const path = "/proc/" + process.pid + "/fd/" + file.fd;
  console.log(Bun.spawnSync([path, "true"], { argv0: "busybox" }).exitCode);
`;

/** In a pid namespace of its own, which has a sysctl of its own (kernel 6.6). */
function underSysctl(value: number): { readonly stdout: string; readonly stderr: string } {
  const script = `echo ${value} > ${SYSCTL} && exec "$0" -e "$1"`;
  const argv = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", script];
  const { stdout, stderr } = Bun.spawnSync([...argv, process.execPath, PROGRAM]);
  return { stdout: stdout.toString().trim(), stderr: stderr.toString() };
}

const hasSysctl = (await Bun.file(SYSCTL).exists()) && process.getuid?.() === 0;

test.skipIf(!hasSysctl)("are executable where they must be asked for", () => {
  expect(underSysctl(0).stdout).toBe("0");
  expect(underSysctl(1).stdout).toBe("0");
  expect(underSysctl(2).stderr).toContain("memfd_create: permission denied");
});
