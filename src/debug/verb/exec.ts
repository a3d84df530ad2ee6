/** `shim exec`: another process in a running container. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { requireDuration } from "../duration.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "run a program in a container",
  description: `Runs a program in a running container, with the user, environment, capabilities and limits of its
config.json. With -t the program has this terminal, otherwise stdin, stdout and stderr; signals are passed
on to it; the exit code is the program's.

Flags of the program itself come after the container's name and are not interpreted.`,
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
    .option("-e, --env <name=value>", "set a variable; may be repeated", collect, [])
    .option("-w, --cwd <dir>", "working directory (default: init's)")
    .option("-u, --user <uid:gid>", "user and group (default: init's)")
    .option("--exec <id>", "id of the exec (default: a free one)")
    .option("--timeout <time>", "kill it if it runs longer: 10s, 2m", requireDuration)
    .action(async (word, args, flags) => {
      const { runExec } = await import("../exec-session.ts");
      // The parser does not touch what follows the container, not even "--".
      const program = args[0] === "--" ? args.slice(1) : args;
      context.exitCode = await runExec(word, program, flags, context.output);
    });
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}
