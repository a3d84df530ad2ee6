/** The verbs of the debugging command by name, in the order of its help; each is loaded when called for. */

import type { Verb } from "./verb.ts";

/** Headings of the help, in order. */
export const GROUPS = ["Run", "See", "Follow and call", "Check", "About"] as const;

export interface VerbEntry {
  readonly name: string;
  readonly group: (typeof GROUPS)[number];
  readonly load: () => Promise<Verb>;
  /** Needs the commands of all verbs, not only its own. */
  readonly isAboutAll: boolean;
}

export const VERBS: readonly VerbEntry[] = [
  entry("run", "Run", async () => (await import("./verb/run.ts")).run),
  entry("start", "Run", async () => (await import("./verb/start.ts")).start),
  entry("exec", "Run", async () => (await import("./verb/exec.ts")).exec),
  entry("attach", "Run", async () => (await import("./verb/attach.ts")).attach),
  entry("kill", "Run", async () => (await import("./verb/kill.ts")).kill),
  entry("pause", "Run", async () => (await import("./verb/pause.ts")).pause),
  entry("resume", "Run", async () => (await import("./verb/resume.ts")).resume),
  entry("wait", "Run", async () => (await import("./verb/wait.ts")).wait),
  entry("state", "Run", async () => (await import("./verb/state.ts")).state),
  entry("delete", "Run", async () => (await import("./verb/delete.ts")).deleteVerb),
  entry("upgrade", "Run", async () => (await import("./verb/upgrade.ts")).upgrade),
  entry("ps", "See", async () => (await import("./verb/ps.ts")).ps),
  entry("inspect", "See", async () => (await import("./verb/inspect.ts")).inspect),
  entry("top", "See", async () => (await import("./verb/top.ts")).top),
  entry("stats", "See", async () => (await import("./verb/stats.ts")).stats),
  entry("doctor", "Check", async () => (await import("./verb/doctor.ts")).doctor),
  entry("metrics", "Check", async () => (await import("./verb/metrics.ts")).metrics),
  entry("logs", "Follow and call", async () => (await import("./verb/logs.ts")).logs),
  entry("events", "Follow and call", async () => (await import("./verb/events.ts")).events),
  entry("trace", "Follow and call", async () => (await import("./verb/trace.ts")).trace),
  entry("call", "Follow and call", async () => (await import("./verb/call.ts")).call),
  entry("help", "About", async () => (await import("./verb/help.ts")).help, {
    isAboutAll: true,
  }),
  entry("completion", "About", async () => (await import("./verb/completion.ts")).completion, {
    isAboutAll: true,
  }),
  entry("man", "About", async () => (await import("./verb/man.ts")).man, { isAboutAll: true }),
];

export function findVerb(name: string): VerbEntry | undefined {
  return VERBS.find((verb) => verb.name === name);
}

function entry(
  name: string,
  group: VerbEntry["group"],
  load: () => Promise<Verb>,
  { isAboutAll = false } = {},
): VerbEntry {
  return { name, group, load, isAboutAll };
}
