/** `shim exec`: a further process in a container that runs. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { parseDuration } from "../duration.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "run a program in a container",
  description: `Runs a program in a container that runs, with its user, environment, capabilities and limits as its
config.json has them. The program has this terminal with -t, else stdin, stdout and stderr; signals are
passed on to it; the exit code is its own.

Flags of the program itself come after the container's name and are not looked at.`,
  examples: [
    { line: "shim exec -t web sh", what: "a shell" },
    { line: "shim exec web cat /etc/hosts", what: "its output, on a pipe too" },
    { line: "shim exec --timeout 5s web -- ls -l /data", what: "exit code 124 when it hangs" },
  ],
};

export function exec(context: Context): CommandUnknownOpts {
  return newVerb("exec", TEXT)
    .argument("<container>", "see shim help names")
    .argument("<command...>", "the program and its arguments")
    .passThroughOptions()
    .option("-n, --namespace <name>", "only in this namespace")
    .option("-t, --tty", "give it a terminal")
    .option("-e, --env <name=value>", "set a variable; may be given again", collect, [])
    .option("-w, --cwd <dir>", "where it begins (default: where init did)")
    .option("-u, --user <uid:gid>", "who it is (default: init's)")
    .option("--exec <id>", "name of the exec (default: one that is free)")
    .option("--timeout <time>", "kill it when it runs longer: 10s, 2m", parseDuration)
    .action(async (word, args, flags) => {
      const { runExec } = await import("../exec-session.ts");
      // The parser leaves what follows the container alone, the mark of its end too.
      const program = args[0] === "--" ? args.slice(1) : args;
      context.exitCode = await runExec(word, program, flags, context.output);
    });
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}
