/** `shim ps`: every shim on this host and its containers, as known from the kernel and the bundles. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import type { ContainerStatus } from "../host/container-status.ts";
import { findShims } from "../host/shims.ts";
import { type Row, readShimMemory, survey } from "../host/survey.ts";
import type { Style } from "../output/style.ts";
import { type Column, formatTable } from "../output/table.ts";
import { formatBytes, formatDuration } from "../output/units.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "list every shim on this host, with its containers",
  description: `Lists every shim on this host with its containers: one line each, oldest shim first.

Shims are found by their processes, sockets and bundles. Neither a manager nor a shim is asked, so one
that hangs or sleeps is listed like any other. MEMORY is the shim's own (PSS); CLIENTS are open
connections to it, usually a manager's.`,
  examples: [
    { line: "shim ps", what: "everything" },
    { line: "shim ps -n k8s.io --json", what: "one namespace, for programs" },
    { line: "shim ps --quiet", what: "only ids" },
  ],
};

/** A row as programs get it; sizes in bytes, ages in milliseconds. */
export interface Listed {
  readonly namespace: string;
  readonly id: string;
  readonly pod: string | null;
  readonly kind: string;
  readonly status: string;
  readonly exitStatus: number | null;
  readonly initPid: number | null;
  readonly pids: number;
  readonly shimPid: number;
  readonly ageMs: number;
  readonly pssBytes: number | null;
  readonly isAsleep: boolean;
  readonly connections: number;
  readonly socket: string | null;
  readonly bundle: string | null;
}

export function ps(context: Context): CommandUnknownOpts {
  return newVerb("ps", TEXT)
    .option("-n, --namespace <name>", "only this namespace")
    .option("-q, --quiet", "only ids, as NAMESPACE/ID")
    .option("--json", "a list of objects")
    .action(({ namespace, quiet, json }) => {
      const rows = survey(findShims()).filter(
        (row) => namespace === undefined || row.namespace === namespace,
      );
      const { output } = context;
      if (quiet) return output.print(rows.map((row) => `${row.namespace}/${row.id}\n`).join(""));
      const memory = readShimMemory(rows);
      const now = Date.now();
      const listed = rows.map((row) => toListed(row, memory.get(row.shim.process.pid), now));
      if (json) return output.printJson(listed);
      output.print(formatPs(listed, output.style, output.width));
    });
}

export function toListed(
  { namespace, id, shim, bundle, state }: Row,
  pss: number | undefined,
  now: number,
): Listed {
  return {
    namespace,
    id,
    pod: bundle?.pod ?? null,
    kind: shim.kind,
    status: state?.status ?? "empty",
    exitStatus: state?.exit?.exitStatus ?? null,
    initPid: state?.init?.pid ?? null,
    pids: state?.pids.length ?? 0,
    shimPid: shim.process.pid,
    ageMs: Math.round(now - shim.process.startedAtMs),
    pssBytes: pss ?? null,
    isAsleep: shim.isAsleep,
    connections: shim.connections,
    socket: shim.socket ?? null,
    bundle: bundle?.path ?? null,
  };
}

/** The table; `width` is that of the terminal, undefined on a pipe. */
export function formatPs(
  listed: readonly Listed[],
  style: Style,
  width: number | undefined,
): string {
  return formatTable(COLUMNS, listed, { style, width });
}

const COLUMNS: readonly Column<Listed>[] = [
  { title: "NAMESPACE", text: ({ namespace }) => namespace, isCuttable: true },
  { title: "ID", text: ({ id }) => id, isCuttable: true },
  { title: "POD", text: ({ pod }) => pod ?? "-", isCuttable: true },
  { title: "KIND", text: ({ kind }) => kind },
  {
    title: "STATUS",
    text: ({ status, exitStatus }) => (exitStatus === null ? status : `${status} (${exitStatus})`),
    paint: ({ status }, style) => paintOf(status, style),
  },
  { title: "PIDS", text: ({ pids }) => String(pids), align: "right" },
  { title: "SHIM", text: ({ shimPid }) => String(shimPid), align: "right" },
  { title: "AGE", text: ({ ageMs }) => formatDuration(ageMs), align: "right" },
  { title: "MEMORY", text: ({ pssBytes }) => formatBytes(pssBytes ?? undefined), align: "right" },
  { title: "MODE", text: ({ isAsleep }) => (isAsleep ? "asleep" : "awake") },
  {
    title: "CLIENTS",
    text: ({ connections }) => (connections === 0 ? "none" : String(connections)),
    paint: ({ connections }, style) => (connections === 0 ? style.warning : style.faint),
  },
];

function paintOf(status: string, style: Style): (text: string) => string {
  const looks: Readonly<Record<ContainerStatus, (text: string) => string>> = {
    running: style.good,
    paused: style.warning,
    stopped: style.faint,
    created: style.faint,
    empty: style.warning,
  };
  return new Map(Object.entries(looks)).get(status) ?? style.faint;
}
