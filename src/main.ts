/**
 * One executable, several commands: argv and environment in, an exit code out.
 *
 * The daemon's program is here at once, in one piece: the engine hardly ever runs for anything else, as
 * the launcher has carried out the short commands (src/native/launcher.c). Other commands are imported
 * when they are called for.
 */

import { basename } from "node:path";
import { runDaemon } from "./command/daemon.ts";
import { EndSignals } from "./command/end-signals.ts";
import { type Invocation, parseInvocation } from "./command/invocation/invocation.ts";
import { writeFailure, writeFailureLine, writeOutput } from "./command/invocation/stream.ts";
import { debugCommandName } from "./version.ts";

const EXIT_FAILURE = 1;
/** The first two words of argv are the engine and the program. */
const ARGUMENTS_START = 2;

async function main(): Promise<number> {
  const args = process.argv.slice(ARGUMENTS_START);
  // biome-ignore lint/style/noProcessEnv: the environment is read here and nowhere else.
  const variables = process.env;
  if (basename(process.argv0) === debugCommandName) {
    const { shim } = await import("./debug/shim.ts");
    return await shim(args, variables);
  }
  const parsed = parseInvocation(process.argv0, args, variables);
  if (parsed.kind === "usage") {
    writeOutput(2, parsed.text);
    return parsed.exitCode;
  }
  try {
    return await run(parsed.invocation);
  } catch (error) {
    writeFailure(error);
    return EXIT_FAILURE;
  }
}

async function run(invocation: Invocation): Promise<number> {
  switch (invocation.action) {
    case "version": {
      const { printVersion } = await import("./command/version.ts");
      return printVersion();
    }
    case "info": {
      const { info } = await import("./command/info.ts");
      return await info(invocation);
    }
    case "start": {
      const { launch } = await import("./command/start/launch-daemon.ts");
      return launch(invocation);
    }
    case "delete": {
      const { deleteTask } = await import("./command/delete/delete.ts");
      return await deleteTask(invocation);
    }
    case "deliver": {
      const { deliver } = await import("./command/delete/deliver.ts");
      return await deliver(invocation);
    }
    case "rehearse": {
      const { rehearse } = await import("./command/rehearse.ts");
      return rehearse();
    }
    case "serve":
      return await runDaemon(invocation, endSignals);
  }
}

// A signal that asks a short command to end would leave half of its work behind, so only the daemon heeds
// it, however early it comes. SIGUSR1 must never reach the engine, which may take it as a call for its
// debugger.
const endSignals = new EndSignals();
for (const signal of ["SIGPIPE", "SIGUSR1"] as const) process.on(signal, () => {});

main().then(
  (exitCode) => process.exit(exitCode),
  (error: unknown) => {
    writeFailureLine(error);
    process.exit(EXIT_FAILURE);
  },
);
