/** `shim top`: what containers and shims use now, live. */

import { type CommandUnknownOpts, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { requireDuration } from "../duration.ts";
import { type Context, newVerb } from "../verb.ts";

const DEFAULT_INTERVAL_MS = 2000;

const TEXT = {
  summary: "show what containers and shims use, live",
  description: `Shows CPU, memory, processes and I/O of each container and of its shim, live; q quits.

CPU is over the last interval, in percent of one core; I/O is per second. On a pipe one table is printed
after one interval. No shim is asked, so none is woken.`,
  examples: [
    { line: "shim top", what: "every two seconds" },
    { line: "shim top --sort memory --interval 5s", what: "the largest first" },
    { line: "shim top --count 1 --json", what: "one interval, for programs" },
  ],
};

export function top({ output }: Context): CommandUnknownOpts {
  return newVerb("top", TEXT)
    .option("-n, --namespace <name>", "only this namespace")
    .addOption(
      new Option("--sort <by>", "what to sort by")
        .choices(["cpu", "memory", "pids", "io"])
        .default("cpu"),
    )
    .option(
      "--interval <time>",
      "time between updates: 500ms, 5s",
      requireDuration,
      DEFAULT_INTERVAL_MS,
    )
    .option("--count <n>", "stop after this many (default: none, on a pipe 1)", parseCount)
    .option("--json", "a list of objects for each interval")
    .action(async ({ namespace, sort, interval, count, json }) => {
      const { runTop } = await import("../top-loop.ts");
      const options = { namespace, sort, intervalMs: interval, count, isJson: json ?? false };
      await runTop(options, output);
    });
}

function parseCount(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError("Give a whole number, 1 or more.");
  return Number(text);
}
