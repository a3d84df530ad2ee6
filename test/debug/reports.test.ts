/** What `shim ps`, `inspect` and `stats` show, as people read it. */

import { expect, test } from "bun:test";
import { formatReport, type Report, toReportDocument } from "../../src/debug/inspect-report.ts";
import { plainStyle } from "../../src/debug/output/style.ts";
import { formatPs, toListed } from "../../src/debug/verb/ps.ts";
import { formatStats } from "../../src/debug/verb/stats.ts";
import { InspectResponse } from "../../src/gen/wedge/inspect/v1/inspect.ts";
import { bundleOf, processOf, shimOf } from "./host.ts";

const NOW_MS = 1_190_000;
const frame = { style: plainStyle, width: undefined };
const memory = { pss: 3_500_000, private: 2_000_000, rss: 40_000_000 };

function runningState(pids: readonly number[]) {
  return {
    status: "running" as const,
    init: processOf({ pid: 101 }),
    cgroup: undefined,
    pids,
    exit: undefined,
  };
}

test("shim ps", () => {
  const asleep = shimOf({
    ...{ namespace: "k8s.io", id: "pod1", isAsleep: true, connections: 0 },
    process: processOf({ pid: 200, startedAtMs: 0 }),
  });
  const exit = { pid: 201, exitStatus: 137, signal: 9, exitedAt: new Date(0), oomKilled: true };
  const rows = [
    {
      namespace: "default",
      id: "web",
      shim: shimOf(),
      bundle: bundleOf(),
      state: runningState([101, 102]),
    },
    {
      ...{ namespace: "k8s.io", id: "pod1", shim: asleep, bundle: bundleOf({ pod: "team/api" }) },
      state: { status: "stopped" as const, init: undefined, cgroup: undefined, pids: [], exit },
    },
    {
      ...{ namespace: "moby", id: "lost", bundle: undefined, state: undefined },
      shim: shimOf({ kind: "go", namespace: "moby", id: "lost", socket: undefined }),
    },
  ];
  const listed = rows.map((row) => toListed(row, memory.pss, NOW_MS));
  expect(formatPs(listed, plainStyle, undefined)).toMatchInlineSnapshot(`
    "NAMESPACE  ID    POD       KIND   STATUS         PIDS  SHIM     AGE   MEMORY  MODE    CLIENTS
    default    web   -         wedge  running           2   100   3m10s  3.3 MiB  awake   1
    k8s.io     pod1  team/api  wedge  stopped (137)     0   200  19m50s  3.3 MiB  asleep  none
    moby       lost  -         go     empty             0   100   3m10s  3.3 MiB  awake   1
    "
  `);
  expect(listed[1]).toMatchObject({ pod: "team/api", exitStatus: 137, isAsleep: true, pids: 0 });
});

test("shim inspect of a wedge shim", () => {
  const answer = InspectResponse.decode(new Uint8Array(0));
  const report: Report = {
    target: { shim: shimOf(), bundle: bundleOf(), namespace: "default", id: "web" },
    state: runningState([101, 102]),
    memory,
    taskVersion: 3,
    problem: "",
    nowMs: NOW_MS,
    answer: {
      ...answer,
      shim: {
        ...{ pid: 100, namespace: "default", id: "web", version: "0.1.0", revision: "abc" },
        ...{ socket: "/run/containerd/s/abc", executingSinceMs: 1_000_000n },
      },
      containers: [
        {
          ...{ id: "web", bundle: "/b", oomKilled: false },
          processes: [
            {
              ...{ id: "web", pid: 101, status: "running", terminal: false, waiters: 1 },
              ...{
                stdin: "",
                stdout: "/f/out",
                stderr: "/f/err",
                exit: undefined,
                droppedBytes: 0n,
              },
            },
            {
              ...{ id: "probe", pid: 103, status: "stopped", terminal: true, waiters: 0 },
              ...{ stdin: "", stdout: "", stderr: "", droppedBytes: 2048n },
              exit: { status: 137, signal: 9, atMs: 1_180_000n },
            },
          ],
        },
      ],
      calls: [
        {
          ...{ service: "containerd.task.v3.Task", method: "Kill", id: "web", execId: "probe" },
          ...{ ageMs: 95_000n, remainingMs: 4000n, peerPid: 7 },
        },
      ],
      runtimeCalls: [
        {
          ...{ verb: "create", id: "web", pid: 90, startedAtMs: 1_000_000n },
          ...{ durationMs: 120n, exitStatus: 0, error: "" },
        },
        {
          ...{ verb: "exec", id: "web", pid: 95, startedAtMs: 1_180_000n },
          ...{ durationMs: 30n, exitStatus: 255, error: "no such file or directory" },
        },
        {
          ...{ verb: "kill", id: "web", pid: 96, startedAtMs: 1_189_000n },
          ...{ durationMs: undefined, exitStatus: undefined, error: "" },
        },
      ],
      connections: [{ peerPid: 7, peerUid: 0, calls: 1 }],
      descriptors: [
        { number: 2, target: "/b/log", name: "log" },
        { number: 4, target: "anon_inode:[eventpoll]", name: "" },
      ],
      journal: { pending: 2n, dropped: 0n, hasNoManager: false },
      log: { dropped: 0n },
    },
  };
  expect(formatReport(report, frame)).toMatchInlineSnapshot(`
    "container  default/web
    status     running
    init       process 101, 2 in its cgroup
    bundle     /run/containerd/io.containerd.runtime.v2.task/default/web
    shim       process 100, wedge 0.1.0, up 3m10s
    memory     3.3 MiB PSS, 1.9 MiB of its own
    socket     /run/containerd/s/abc
    task API   version 3
    events     2 wait, 0 given up
    log        0 lines lost

    Processes
    ID     PID  STATUS   EXIT            EXITED AT                 WAITERS     LOST  STDIO
    web    101  running  -               -                               1      0 B  /f/out /f/err
    probe  103  stopped  137 (signal 9)  1970-01-01T00:19:40.000Z        0  2.0 KiB  terminal

    Calls in flight
    METHOD                        ABOUT        AGE  LEFT  FROM
    containerd.task.v3.Task/Kill  web probe  1m35s  4.0s     7

    Calls of the runtime
    VERB      AGO   TOOK  PID  EXIT  ERROR
    create  3m10s  120ms   90     0
    exec      10s   30ms   95   255  no such file or directory
    kill     1.0s   runs   96     -

    Connections
    FROM  UID  CALLS
       7    0      1

    Descriptors
    FD  FOR  TARGET
     2  log  /b/log
     4  -    anon_inode:[eventpoll]
    "
  `);
  expect(toReportDocument(report)).toMatchObject({ id: "web", status: "running", initPid: 101 });
});

test("shim inspect of a shim that does not answer", () => {
  const exit = {
    pid: 101,
    exitStatus: 1,
    signal: 0,
    exitedAt: new Date("2026-01-01T00:00:00.000Z"),
    oomKilled: true,
  };
  const report: Report = {
    target: {
      shim: shimOf({ kind: "go" }),
      bundle: bundleOf({ exit }),
      namespace: "default",
      id: "web",
    },
    state: { status: "stopped", init: undefined, cgroup: undefined, pids: [], exit },
    memory: undefined,
    taskVersion: undefined,
    answer: undefined,
    problem: "The shim does not answer",
    nowMs: NOW_MS,
  };
  expect(formatReport(report, frame)).toMatchInlineSnapshot(`
    "container  default/web
    status     stopped
    exit       1 at 2026-01-01T00:00:00.000Z, out of memory
    bundle     /run/containerd/io.containerd.runtime.v2.task/default/web
    shim       process 100, go, up 3m10s
    socket     /run/containerd/s/abc
    problem    The shim does not answer
    "
  `);
});

test("shim stats", () => {
  const container = {
    ...{ cpuMs: 83_000, throttledMs: 1500, memoryBytes: 5_242_880, workingSetBytes: 1_048_576 },
    ...{ memoryLimitBytes: 67_108_864, oomKills: 1, pids: 3, pidsLimit: undefined },
    ...{ readBytes: 0, writtenBytes: undefined },
  };
  expect(
    formatStats({ container, shim: { cpuMs: 70, memory } }, plainStyle),
  ).toMatchInlineSnapshot(`
    "cpu          1m23s, held back 1.5s
    memory       5.0 MiB of 64.0 MiB, 1.0 MiB without cache
    oom kills    1
    pids         3
    read         0 B
    written      -
    shim cpu     70ms
    shim memory  3.3 MiB PSS, 1.9 MiB of its own
    "
  `);
});
