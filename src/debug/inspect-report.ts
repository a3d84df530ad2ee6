/** What `shim inspect` shows, for programs and for people, from the shim's answer and the kernel. */

import type { InspectResponse } from "../gen/wedge/inspect/v1/inspect.ts";
import type { ContainerState } from "./host/container-status.ts";
import type { ProcessMemory } from "./host/process-memory.ts";
import type { Target } from "./host/target.ts";
import type { Style } from "./output/style.ts";
import { type Column, formatTable } from "./output/table.ts";
import { formatBytes, formatDuration } from "./output/units.ts";

/** Everything that is known about a container and its shim. */
export interface Report {
  readonly target: Target;
  readonly state: ContainerState | undefined;
  readonly memory: ProcessMemory | undefined;
  /** Of the Task API; undefined when the shim could not be asked. */
  readonly taskVersion: number | undefined;
  /** What a wedge shim reports about itself; undefined for others. */
  readonly answer: InspectResponse | undefined;
  /** Why the shim could not be asked; "" when it could. */
  readonly problem: string;
  readonly nowMs: number;
}

type Section = readonly [title: string, text: string];

/** As JSON: the shim's answer, with what is known from the kernel beside it. */
export function toReportDocument(report: Report): object {
  const { target, state, memory, answer, problem, taskVersion } = report;
  const { shim, bundle } = target;
  return {
    namespace: target.namespace,
    id: target.id,
    pod: bundle?.pod ?? null,
    status: state?.status ?? "empty",
    initPid: state?.init?.pid ?? null,
    pids: state?.pids ?? [],
    exit: bundle?.exit ?? null,
    bundle: bundle?.path ?? null,
    shim: {
      pid: shim.process.pid,
      kind: shim.kind,
      isAsleep: shim.isAsleep,
      startedAtMs: Math.round(shim.process.startedAtMs),
      taskVersion: taskVersion ?? null,
      socket: shim.socket ?? null,
      connections: shim.connections,
      memory: memory ?? null,
    },
    answer: answer ?? null,
    problem: problem === "" ? null : problem,
  };
}

/** As text, in sections; empty ones are left out. */
export function formatReport(
  report: Report,
  { style, width }: { readonly style: Style; readonly width: number | undefined },
): string {
  const { answer, nowMs } = report;
  const sections: readonly Section[] = [
    ["", formatFacts(factsOf(report), style)],
    ...(answer === undefined ? [] : answerSections(answer, { style, width, nowMs })),
  ];
  return sections
    .filter(([, text]) => text !== "")
    .map(([title, text]) => (title === "" ? text : `${style.heading(title)}\n${text}`))
    .join("\n");
}

type Fact = readonly [name: string, value: string | undefined];

function factsOf({
  target,
  state,
  memory,
  problem,
  taskVersion,
  answer,
  nowMs,
}: Report): readonly Fact[] {
  const { shim, bundle, namespace, id } = target;
  const exit = state?.exit;
  const pids = state?.pids.length ?? 0;
  return [
    ["container", `${namespace}/${id}`],
    ["pod", bundle?.pod],
    ["status", state === undefined ? "the shim has no container" : state.status],
    [
      "exit",
      exit &&
        `${exit.exitStatus}${exit.signal > 0 ? ` (signal ${exit.signal})` : ""} at ${exit.exitedAt.toISOString()}${exit.oomKilled ? ", out of memory" : ""}`,
    ],
    ["init", state?.init && `process ${state.init.pid}, ${pids} in its cgroup`],
    ["bundle", bundle?.path],
    [
      "shim",
      `process ${shim.process.pid}, ${shim.kind}${answer?.shim ? ` ${answer.shim.version}` : ""}, up ${formatDuration(nowMs - shim.process.startedAtMs)}${shim.isAsleep ? ", was asleep" : ""}`,
    ],
    [
      "memory",
      memory && `${formatBytes(memory.pss)} PSS, ${formatBytes(memory.private)} of its own`,
    ],
    ["socket", shim.socket],
    ["task API", taskVersion === undefined ? undefined : `version ${taskVersion}`],
    [
      "events",
      answer?.journal &&
        (answer.journal.hasNoManager
          ? "nobody to tell"
          : `${answer.journal.pending} wait, ${answer.journal.dropped} given up`),
    ],
    ["log", answer?.log && `${answer.log.dropped} lines lost`],
    ["problem", problem === "" ? undefined : problem],
  ];
}

function formatFacts(facts: readonly Fact[], style: Style): string {
  const known = facts.flatMap(([name, value]) => (value === undefined ? [] : [{ name, value }]));
  const width = Math.max(...known.map(({ name }) => name.length));
  return known.map(({ name, value }) => `${style.faint(name.padEnd(width))}  ${value}\n`).join("");
}

interface Frame {
  readonly style: Style;
  readonly width: number | undefined;
  readonly nowMs: number;
}

function answerSections(answer: InspectResponse, frame: Frame): readonly Section[] {
  const table = <Row>(columns: readonly Column<Row>[], rows: readonly Row[]) =>
    rows.length === 0 ? "" : formatTable(columns, rows, frame);
  return [
    [
      "Processes",
      table(
        PROCESS_COLUMNS,
        answer.containers.flatMap(({ processes }) => processes),
      ),
    ],
    ["Calls in flight", table(CALL_COLUMNS, answer.calls)],
    ["Calls of the runtime", table(runtimeColumns(frame.nowMs), answer.runtimeCalls)],
    ["Connections", table(CONNECTION_COLUMNS, answer.connections)],
    ["Descriptors", table(DESCRIPTOR_COLUMNS, answer.descriptors)],
  ];
}

type Rows<Key extends keyof InspectResponse> = InspectResponse[Key] extends readonly (infer Row)[]
  ? Row
  : never;

const PROCESS_COLUMNS: readonly Column<Rows<"containers">["processes"][number]>[] = [
  { title: "ID", text: ({ id }) => id, isCuttable: true },
  { title: "PID", text: ({ pid }) => (pid === 0 ? "-" : String(pid)), align: "right" },
  { title: "STATUS", text: ({ status }) => status },
  {
    title: "EXIT",
    text: ({ exit }) =>
      exit === undefined
        ? "-"
        : `${exit.status}${exit.signal > 0 ? ` (signal ${exit.signal})` : ""}`,
  },
  {
    title: "EXITED AT",
    text: ({ exit }) => (exit === undefined ? "-" : new Date(Number(exit.atMs)).toISOString()),
  },
  { title: "WAITERS", text: ({ waiters }) => String(waiters), align: "right" },
  { title: "LOST", text: ({ droppedBytes }) => formatBytes(Number(droppedBytes)), align: "right" },
  {
    title: "STDIO",
    text: ({ terminal, stdin, stdout, stderr }) =>
      [terminal ? "terminal" : "", stdin, stdout, stderr].filter((part) => part !== "").join(" ") ||
      "none",
    isCuttable: true,
  },
];

const CALL_COLUMNS: readonly Column<Rows<"calls">>[] = [
  { title: "METHOD", text: ({ service, method }) => `${service}/${method}` },
  { title: "ABOUT", text: ({ id, execId }) => [id, execId].filter(Boolean).join(" ") || "-" },
  { title: "AGE", text: ({ ageMs }) => formatDuration(Number(ageMs)), align: "right" },
  {
    title: "LEFT",
    text: ({ remainingMs }) =>
      remainingMs === undefined ? "no limit" : formatDuration(Number(remainingMs)),
    align: "right",
  },
  { title: "FROM", text: ({ peerPid }) => String(peerPid), align: "right" },
];

function runtimeColumns(nowMs: number): readonly Column<Rows<"runtimeCalls">>[] {
  return [
    { title: "VERB", text: ({ verb }) => verb },
    {
      title: "AGO",
      text: ({ startedAtMs }) => formatDuration(nowMs - Number(startedAtMs)),
      align: "right",
    },
    {
      title: "TOOK",
      text: ({ durationMs }) =>
        durationMs === undefined ? "runs" : formatDuration(Number(durationMs)),
      align: "right",
    },
    { title: "PID", text: ({ pid }) => String(pid), align: "right" },
    {
      title: "EXIT",
      text: ({ exitStatus }) => (exitStatus === undefined ? "-" : String(exitStatus)),
      align: "right",
      paint: ({ exitStatus }, style) => (exitStatus ? style.bad : style.faint),
    },
    { title: "ERROR", text: ({ error }) => error, isCuttable: true },
  ];
}

const CONNECTION_COLUMNS: readonly Column<Rows<"connections">>[] = [
  { title: "FROM", text: ({ peerPid }) => String(peerPid), align: "right" },
  { title: "UID", text: ({ peerUid }) => String(peerUid), align: "right" },
  { title: "CALLS", text: ({ calls }) => String(calls), align: "right" },
];

const DESCRIPTOR_COLUMNS: readonly Column<Rows<"descriptors">>[] = [
  { title: "FD", text: ({ number }) => String(number), align: "right" },
  { title: "FOR", text: ({ name }) => name || "-" },
  { title: "TARGET", text: ({ target }) => target, isCuttable: true },
];
