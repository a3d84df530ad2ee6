import { describe, expect, test } from "bun:test";
import { ShimError } from "../../src/base/error.ts";
import { kindOf, RuntimeError } from "../../src/runtime/error.ts";
import type { Verb } from "../../src/runtime/runtime.ts";

/** Sentences as runtimes really say them: runc 1.0 to 1.5, crun 1.8, youki, runsc. */
const SENTENCES = [
  // runc
  ["kill", "container not running", "processFinished"],
  ["kill", "unable to signal init: os: process already finished", "processFinished"],
  ["kill", "unable to signal init: no such process", "processFinished"],
  ["kill", "container does not exist", "containerNotFound"],
  ["kill", 'container "abc" does not exist', "containerNotFound"],
  ["kill", "unable to signal init: invalid argument", "other"],
  ["kill", 'unknown signal "notasignal"', "other"],
  ["start", "container does not exist", "containerNotFound"],
  ["start", "cannot start a container that has stopped", "notRunning"],
  ["start", "cannot start an already running container", "other"],
  ["exec", "exec failed: container does not exist", "containerNotFound"],
  ["exec", "exec failed: cannot exec in a stopped container", "notRunning"],
  [
    "exec",
    "exec failed: cannot exec in a paused container (use --ignore-paused to override)",
    "other",
  ],
  [
    "exec",
    'exec failed: unable to start container process: exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory',
    "other",
  ],
  [
    "exec",
    'exec failed: unable to start container process: exec: "x": executable file not found in $PATH',
    "other",
  ],
  ["pause", "container not running", "notRunning"],
  ["resume", "container not paused", "notPaused"],
  ["pause", "container not paused", "other"],
  ["update", "container not running", "notRunning"],
  ["checkpoint", "Container cannot be checkpointed in stopped state", "notRunning"],
  ["delete", "container does not exist", "containerNotFound"],
  ["delete", "cannot delete container x1 that is not stopped: running", "other"],
  ["create", "runc create failed: container with given ID already exists", "other"],
  ["create", "container_linux.go:380: rootfs (/x) does not exist", "other"],
  // crun
  [
    "kill",
    "error opening file `/run/crun/c/status`: No such file or directory",
    "containerNotFound",
  ],
  ["kill", "container process not found, the pid was reused", "processFinished"],
  ["kill", "the container `c` is not running", "processFinished"],
  ["kill", "open pidfd: No such process", "processFinished"],
  ["kill", "send signal to pidfd: Invalid argument", "other"],
  ["kill", "kill container: No such process", "processFinished"],
  ["delete", "cannot open directory '/run/crun/c': No such file or directory", "containerNotFound"],
  [
    "start",
    "error opening file `/run/crun/c/status`: No such file or directory",
    "containerNotFound",
  ],
  ["start", "cannot open `/run/crun/c/exec.fifo`: No such file or directory", "other"],
  ["exec", "setns(pid=11467, CLONE_NEWUSER): No such process", "notRunning"],
  ["exec", "the container `c` is not running", "notRunning"],
  ["exec", "the container `c` is paused", "other"],
  ["exec", "executable file `/container-x` not found in $PATH: No such file or directory", "other"],
  ["exec", "executable file `container` not found in $PATH: No such file or directory", "other"],
  // youki
  ["kill", "failed to perform operation due to incorrect container status", "processFinished"],
  ["kill", "ESRCH: No such process", "processFinished"],
  ["delete", "container state directory does not exist", "containerNotFound"],
  ["exec", "failed to perform operation due to incorrect container status", "notRunning"],
  // runsc
  ["kill", "loading container: file does not exist", "containerNotFound"],
  ["kill", "", "other"],
] as const satisfies readonly (readonly [Verb, string, string])[];

describe("kindOf()", () => {
  test.each(SENTENCES)("%s: %j is %s", (verb, sentence, kind) => {
    expect<string>(kindOf(verb, sentence)).toBe(kind);
  });
});

describe("RuntimeError", () => {
  test.each([
    ["create", "OCI runtime create failed: X"],
    ["restore", "OCI runtime restore failed: X"],
    ["start", "OCI runtime start failed: X"],
    ["exec", "OCI runtime exec failed: X"],
    ["pause", "OCI runtime pause failed: X"],
    ["resume", "OCI runtime resume failed: X"],
    ["delete", "failed to delete task: X"],
    ["kill", "unknown error after kill: X"],
  ] as const)("%s failures begin as peers expect, and pass the words on", (verb, message) => {
    const error = new RuntimeError({ verb, kind: "other", runtimeMessage: "X" });
    expect(error).toMatchObject({ message, reason: "unknown", runtimeMessage: "X" });
    expect(error).toBeInstanceOf(ShimError);
  });

  test.each([
    ["kill", "processFinished", "notFound", "process already finished"],
    ["kill", "containerNotFound", "notFound", "no such container"],
    ["kill", "timeout", "deadlineExceeded", "unknown error after kill: X"],
    ["start", "containerNotFound", "unknown", "OCI runtime start failed: X"],
    ["exec", "timeout", "deadlineExceeded", "OCI runtime exec failed: X"],
    ["exec", "canceled", "canceled", "OCI runtime exec failed: X"],
  ] as const)("%s with %s has reason %s", (verb, kind, reason, message) => {
    const error = new RuntimeError({ verb, kind, runtimeMessage: "X" });
    expect(error).toMatchObject({ reason, message });
  });
});
