/** The programs that wedge works with: runtimes, managers, and itself where managers look for it. */

import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import type { Variables } from "../../base/variables.ts";
import { Children } from "../../linux/children.ts";
import { Poller } from "../../linux/poller.ts";
import { readText } from "../../linux/text-file.ts";
import { executableName } from "../../version.ts";
import { type Kernel, runCommand } from "../command-output.ts";
import type { HostProcess } from "../host/process-table.ts";
import { broken, type Finding, note, ok } from "./finding.ts";

const TIMEOUT_MS = 5000;
const RUNTIMES = ["runc", "crun", "youki"];
/** Older ones lack what every manager counts on; for crun also the version of the spec. */
const OLDEST: ReadonlyMap<string, string> = new Map([
  ["runc", "1.0.0"],
  ["crun", "1.5"],
]);
/** The first release to which `start` may answer in this form; newest first. */
const DIALECTS = [
  { since: [2, 3], dialect: "protobuf, task API 3" },
  { since: [2, 0], dialect: "JSON, task API 3" },
  { since: [1, 7], dialect: "JSON, task API 2" },
  { since: [0, 0], dialect: "a plain address, task API 2" },
] as const;

/** All findings about programs; they are queried concurrently. */
export async function checkPrograms(
  processes: ReadonlyMap<number, HostProcess>,
  variables: Variables,
): Promise<readonly Finding[]> {
  using poller = new Poller();
  using children = new Children({ poller, reapStrays: false });
  const kernel = { poller, children };
  const managers = [...processes.values()].filter(
    ({ args, state }) => basename(args[0] ?? "") === "containerd" && state !== "Z",
  );
  const findings = await Promise.all([
    checkRuntimes(variables, kernel),
    ...managers.map((manager) => checkManager(manager, kernel)),
  ]);
  if (managers.length > 0) return findings.flat();
  return [
    ...findings.flat(),
    ok("containerd", "no containerd runs: bundles can be run with shim run"),
  ];
}

async function checkRuntimes(variables: Variables, kernel: Kernel): Promise<readonly Finding[]> {
  const found = await Promise.all(
    RUNTIMES.map(async (name) => {
      const path = Bun.which(name, { PATH: variables["PATH"] ?? "" });
      return path === null ? [] : [judgeRuntime(name, path, await askVersion(path, kernel))];
    }),
  );
  const findings = found.flat();
  if (findings.length > 0) return findings;
  return [
    broken(
      "runtime",
      `none of ${RUNTIMES.join(", ")} is in PATH`,
      "install runc: apt install runc",
    ),
  ];
}

/** Pure; `version` is undefined when it did not tell. */
export function judgeRuntime(name: string, path: string, version: string | undefined): Finding {
  const check = `runtime-${name}`;
  if (version === undefined) {
    return broken(
      check,
      `${path} does not tell its version`,
      `check what it prints: ${path} --version`,
    );
  }
  const oldest = OLDEST.get(name);
  if (oldest === undefined || !isOlder(version, oldest))
    return ok(check, `${name} ${version} at ${path}`);
  return broken(check, `${name} ${version} at ${path} is too old`, `install ${oldest} or newer`);
}

async function checkManager(
  { pid, args }: HostProcess,
  kernel: Kernel,
): Promise<readonly Finding[]> {
  const version = await askVersion(`/proc/${pid}/exe`, kernel);
  return [judgeManager(pid, version), ...checkInstalled(pid, args)];
}

/** Pure; `version` is undefined when it did not tell. */
export function judgeManager(pid: number, version: string | undefined): Finding {
  const who = `containerd${version === undefined ? "" : ` ${version}`} (process ${pid})`;
  if (version === undefined) {
    return note(
      "containerd",
      `${who} does not tell its version`,
      "run this command as the same user",
    );
  }
  const [major = 0, minor = 0] = numbersOf(version);
  const { dialect } = DIALECTS.find(
    ({ since }) => major > since[0] || (major === since[0] && minor >= since[1]),
  ) ??
    DIALECTS[DIALECTS.length - 1] ?? { dialect: "" };
  if (major === 1 && minor < 6) {
    return broken(
      "containerd",
      `${who} is older than wedge supports`,
      "use containerd 1.6 or newer",
    );
  }
  return ok("containerd", `${who} is answered with ${dialect}`);
}

/** Whether a manager finds wedge by its runtime's name: in the PATH that it was started with. */
function checkInstalled(pid: number, args: readonly string[]): readonly Finding[] {
  const check = "installed";
  const environment = readText(`/proc/${pid}/environ`);
  if (environment === undefined) return [];
  const path = environment
    .split("\0")
    .find((entry) => entry.startsWith("PATH="))
    ?.slice("PATH=".length);
  const root = `/proc/${pid}/root`;
  const folders = (path ?? "").split(":").filter((folder) => folder.startsWith("/"));
  const found = folders.find((folder) => existsSync(join(root, folder, executableName)));
  if (found !== undefined)
    return [ok(check, `${executableName} is in ${found}, where process ${pid} finds it`)];
  return [
    note(
      check,
      `${args[0] ?? "containerd"} (process ${pid}) does not find ${executableName} in its PATH (${path ?? "unset"})`,
      `install it in one of these directories, if containers are to run under wedge there`,
    ),
  ];
}

async function askVersion(path: string, kernel: Kernel): Promise<string | undefined> {
  try {
    const command = { argv: [path, "--version"], env: [], timeoutMs: TIMEOUT_MS };
    const { exit, text } = await runCommand(command, kernel);
    if (exit.status !== 0) return undefined;
    return /\bv?(\d+\.\d+[\w.+~-]*)/.exec(text)?.[1];
  } catch {
    return undefined; // It cannot be run: said by the caller.
  }
}

function isOlder(version: string, than: string): boolean {
  const [own, other] = [numbersOf(version), numbersOf(than)];
  for (const [index, number] of other.entries()) {
    const difference = (own[index] ?? 0) - number;
    if (difference !== 0) return difference < 0;
  }
  return false;
}

function numbersOf(version: string): readonly number[] {
  return (/^[\d.]+/.exec(version)?.[0] ?? "").split(".").map(Number);
}
