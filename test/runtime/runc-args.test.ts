import { describe, expect, test } from "bun:test";
import {
  checkpointArgs,
  createArgs,
  deleteArgs,
  execArgs,
  globalArgs,
  killArgs,
  pauseArgs,
  restoreArgs,
  resumeArgs,
  startArgs,
  updateArgs,
} from "../../src/runtime/runc-args.ts";

const flags = { root: "/run/r/ns", logFile: "/b/log", systemdCgroup: false };

describe("globalArgs()", () => {
  test("--root stands before --log, as wrapper scripts expect", () => {
    expect(globalArgs(flags).join(" ")).toBe("--root /run/r/ns --log /b/log --log-format json");
  });

  test("--systemd-cgroup stands last", () => {
    expect(globalArgs({ ...flags, logFile: undefined })).toEqual(["--root", "/run/r/ns"]);
    const args = globalArgs({ ...flags, systemdCgroup: true });
    expect(args.join(" ")).toBe("--root /run/r/ns --log /b/log --log-format json --systemd-cgroup");
  });
});

const create = { pidFile: "/b/init.pid", noPivot: false, noNewKeyring: false };
const restore = { pidFile: "/b/init.pid", noPivot: false, imagePath: "/image" };
const everything = {
  openTcp: true,
  externalUnixSockets: true,
  terminal: true,
  fileLocks: true,
  cgroupsMode: "strict",
  emptyNamespaces: ["network", "ipc"],
};
const EVERYTHING =
  "--tcp-established --ext-unix-sk --shell-job --file-locks --manage-cgroups-mode strict --empty-ns network --empty-ns ipc";

test.each([
  [createArgs("c", "/b", create), "create --bundle /b --pid-file /b/init.pid c"],
  [
    createArgs("c", "/b", { ...create, noPivot: true, noNewKeyring: true, consoleSocket: "/s" }),
    "create --bundle /b --pid-file /b/init.pid --console-socket /s --no-pivot --no-new-keyring c",
  ],
  [startArgs("c"), "start c"],
  [killArgs("c", 15, { all: false }), "kill c 15"],
  [killArgs("c", 9, { all: true }), "kill --all c 9"],
  [deleteArgs("c", { force: false }), "delete c"],
  [deleteArgs("c", { force: true }), "delete --force c"],
  [pauseArgs("c"), "pause c"],
  [resumeArgs("c"), "resume c"],
  [updateArgs("c"), "update --resources=- c"],
  [
    execArgs("c", { processFile: "/p", pidFile: "/b/e.pid" }),
    "exec --process /p --detach --pid-file /b/e.pid c",
  ],
  [
    execArgs("c", { processFile: "/p", pidFile: "/b/e.pid", consoleSocket: "/s" }),
    "exec --process /p --console-socket /s --detach --pid-file /b/e.pid c",
  ],
  [
    restoreArgs("c", "/b", restore),
    "restore --image-path /image --detach --pid-file /b/init.pid --bundle /b c",
  ],
  [
    restoreArgs("c", "/b", {
      ...restore,
      ...{ workPath: "/w", parentPath: "/p", consoleSocket: "/s", noPivot: true },
      criu: everything,
    }),
    `restore --image-path /image --work-path /w --parent-path /p ${EVERYTHING} --detach --pid-file /b/init.pid --console-socket /s --no-pivot --bundle /b c`,
  ],
  [
    checkpointArgs("c", { imagePath: "/i", workPath: "", leaveRunning: false }),
    "checkpoint --image-path /i c",
  ],
  [
    checkpointArgs("c", { imagePath: "/i", workPath: "/w", leaveRunning: true, criu: everything }),
    `checkpoint --image-path /i --work-path /w ${EVERYTHING} --leave-running c`,
  ],
  [
    checkpointArgs("c", {
      imagePath: "/i",
      leaveRunning: true,
      criu: { openTcp: false, cgroupsMode: "", emptyNamespaces: [] },
    }),
    "checkpoint --image-path /i --leave-running c",
  ],
])("%#: the command line is as written", (args, line) => {
  expect(args.join(" ")).toBe(line);
});

test.each(["", "-rf", "--root"])("%j is not taken for an id", (id) => {
  expect(() => startArgs(id)).toThrow("is not a container id");
});
