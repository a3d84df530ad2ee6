/** `shim run`, and `shim --id ID --bundle DIR`: a bundle under a shim of its own. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { requireDuration } from "../duration.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "run an OCI bundle under a shim of its own, with no manager",
  description: `Runs an OCI bundle under a shim of its own, with no manager. Arguments may replace the flags:
shim run ID DIR [NAME]; and the verb may be left out.

In the foreground the container has this terminal if its config.json asks for one, otherwise stdin, stdout
and stderr; signals are passed on to it. Detached, its output goes to --log FILE or nowhere; a terminal
waits for shim attach. The exit code is the container's, or 128 + N if signal N ended it.`,
  examples: [
    { line: "shim --id web --bundle /srv/bundles/web", what: "in the foreground" },
    { line: "shim run --id web --bundle . --runtime crun --detach", what: "in the background" },
    { line: "echo hello | shim web /srv/bundles/web runc", what: "arguments instead of flags" },
  ],
};

export function run(context: Context): CommandUnknownOpts {
  return newVerb("run", TEXT)
    .argument("[words...]", "ID DIR [NAME], instead of the flags")
    .option("--id <id>", "name of the container")
    .option("-b, --bundle <dir>", "directory with config.json and the root filesystem")
    .option("--runtime <name>", "OCI runtime, by name or path (default: runc)")
    .option(
      "--root <dir>",
      "runtime state goes to DIR/NAMESPACE/ID (default: /run/containerd/runc)",
    )
    .option("-n, --namespace <name>", "namespace of the container", "default")
    .option("-d, --detach", "leave it to its shim, print its id and pid")
    .option("-t, --tty", "give it a terminal, whatever config.json says")
    .option("--no-tty", "give it none, whatever config.json says")
    .option("--log <file>", "append its output to a file instead of showing it")
    .option("--pid-file <file>", "write the pid of its init there")
    .option(
      "--timeout <time>",
      "kill it if it runs longer: 10s, 2m; exit code 124",
      requireDuration,
    )
    .option("--debug", "show the shim's log")
    .action(async (words, flags) => {
      const { toRunOptions } = await import("../run/run-options.ts");
      const { runBundle } = await import("../run/bundle-run.ts");
      context.exitCode = await runBundle(toRunOptions(flags, words), context);
    });
}
