/**
 * Prepares a machine: npm dependencies and, on Debian, the packages that the purpose needs.
 *
 *     node scripts/setup.mjs build   npm dependencies
 *     node scripts/setup.mjs demo    and a C compiler, an OCI runtime, and busybox to run in it
 *     node scripts/setup.mjs test    and everything that the tests run
 *
 * Plain Node without dependencies, as it runs before there are any. It checks first and does nothing
 * if nothing is missing. Exit status 2: something is missing that it cannot install.
 */

import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const NODE_MAJOR_MIN = 20;
const POLICY = "/usr/sbin/policy-rc.d";
const root = fileURLToPath(new URL("..", import.meta.url));

/** For the launcher and the sleeper: without it, a build boots the engine more often, and never sleeps. */
const COMPILER = { gcc: ["cc"] };
/** Debian packages by the commands that prove them present, whoever installed those. */
const RUN = { runc: ["runc"], "busybox-static": ["/bin/busybox"], ...COMPILER };
const TEST = {
  ...RUN,
  crun: ["crun"],
  containerd: ["containerd", "ctr", "containerd-shim-runc-v2"],
  "containernetworking-plugins": ["/usr/lib/cni/bridge"],
  strace: ["strace"],
  // The users of shim's completions and man page.
  zsh: ["zsh"],
  fish: ["fish"],
  "groff-base": ["groff"],
  rootlesskit: ["rootlesskit"],
  uidmap: ["newuidmap", "newgidmap"],
  procps: ["ps"],
  iproute2: ["ip"],
  mount: ["mount", "umount"],
  "util-linux": ["unshare", "nsenter", "setsid"],
  // For its library, which dockerd 20.10 is linked against.
  dmsetup: ["dmsetup"],
};
const PACKAGES = { build: {}, demo: RUN, test: TEST };

class SetupError extends Error {}

function say(message) {
  process.stderr.write(`setup: ${message}\n`);
}

/** Runs a command with its output on our stderr; true when it succeeded. */
function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", 2, 2],
  });
  if (error !== undefined) say(`cannot run ${command}: ${error.message}`);
  return status === 0;
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function hasCommand(name) {
  if (name.startsWith("/")) return isExecutable(name);
  // A user's PATH may lack the directories of the administrator's commands.
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.some((folder) => folder !== "" && isExecutable(join(folder, name)));
}

function isDebian() {
  if (!existsSync("/etc/os-release")) return false;
  const release = readFileSync("/etc/os-release", "utf8");
  return /^(ID|ID_LIKE)="?.*\bdebian\b/m.test(release) && hasCommand("apt-get");
}

/** Lets packages install without starting their services, unless the machine has a policy of its own. */
function withoutServices(action) {
  const isOurs = !existsSync(POLICY);
  // An interrupt ends apt-get, which shares our terminal; the policy must be removed nevertheless.
  const ignore = () => {};
  process.on("SIGINT", ignore);
  process.on("SIGTERM", ignore);
  if (isOurs) writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    return action();
  } finally {
    if (isOurs) rmSync(POLICY, { force: true });
    process.off("SIGINT", ignore);
    process.off("SIGTERM", ignore);
  }
}

function installPackages(wanted) {
  const missing = Object.keys(wanted).filter((name) => !wanted[name].every(hasCommand));
  if (missing.length === 0) return;
  const list = missing.join(" ");
  if (!isDebian()) {
    throw new SetupError(
      `missing: ${list}. Install what your distribution calls these Debian packages, then try again`,
    );
  }
  if (process.getuid() !== 0) {
    throw new SetupError(`missing: ${list}. As root: apt-get install ${list}`);
  }
  say(`installing Debian packages: ${list}`);
  const env = { DEBIAN_FRONTEND: "noninteractive", DEBCONF_NONINTERACTIVE_SEEN: "true" };
  const options = ["-q", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"];
  if (!run("apt-get", ["update", ...options], env)) {
    say("apt-get update failed; trying with the package lists that are here");
  }
  const isInstalled = withoutServices(() =>
    run("apt-get", ["install", "--no-install-recommends", ...options, ...missing], env),
  );
  const still = missing.filter((name) => !wanted[name].every(hasCommand));
  if (isInstalled && still.length === 0) return;
  throw new SetupError(
    `cannot install ${still.join(" ") || list}. Look at the messages of apt-get above, or install by hand`,
  );
}

/** True when node_modules holds the versions of package-lock.json, as npm itself recorded them. */
function hasDependencies() {
  const record = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(record)) return false;
  const installed = JSON.parse(readFileSync(record, "utf8")).packages ?? {};
  const locked = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages ?? {};
  return Object.keys(locked)
    .filter((path) => path !== "" && !locked[path].optional)
    .every((path) => installed[path]?.version === locked[path].version);
}

function hasBun() {
  return spawnSync(join(root, "node_modules", ".bin", "bun"), ["--version"]).status === 0;
}

function installDependencies() {
  if (!hasDependencies()) {
    say("installing npm dependencies");
    // Not "ci": it refuses a lock file that leaves out packages for other platforms, as some npm write it.
    const args = ["install", "--include=dev", "--no-save", "--no-audit", "--no-fund"];
    if (!run("npm", args)) {
      throw new SetupError("npm install failed. Look at the messages of npm above, then try again");
    }
  }
  // npm may hold back the install scripts of packages, and these get their executables from one.
  const scripts = ["node_modules/bun/install.js"];
  if (!hasBun() && !(run(process.execPath, scripts) && hasBun())) {
    throw new SetupError("node_modules/.bin/bun does not run. Remove node_modules, then try again");
  }
}

function main() {
  const [purpose = "build"] = process.argv.slice(2);
  const packages = PACKAGES[purpose];
  if (packages === undefined) {
    throw new SetupError(
      `unknown purpose: ${purpose}. Use one of ${Object.keys(PACKAGES).join(", ")}`,
    );
  }
  if (process.platform !== "linux") {
    throw new SetupError(`unsupported system: ${process.platform}. wedge builds and runs on Linux`);
  }
  if (Number.parseInt(process.versions.node, 10) < NODE_MAJOR_MIN) {
    throw new SetupError(
      `Node is too old: ${process.versions.node}. Install ${NODE_MAJOR_MIN} or newer`,
    );
  }
  installPackages(packages);
  installDependencies();
}

try {
  main();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(error.message);
  process.exitCode = 2;
}
