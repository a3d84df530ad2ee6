/** The outputs of a process that go into one log file. */

import type { Logger } from "../base/log.ts";
import type { OwnedFd } from "../linux/fd.ts";
import type { Poller } from "../linux/poller.ts";
import type { EndOwner } from "./endpoint.ts";
import { type LogFile, LogStream } from "./log-file.ts";
import type { Part } from "./part.ts";
import { relayOutput } from "./relayed-output.ts";
import { Sink } from "./sink.ts";

interface OutputOptions {
  readonly name: string;
  readonly owner: EndOwner;
  readonly poller: Poller;
  readonly log: Logger;
}

/** One pipe of the process, and which of its descriptors it is. */
interface LogOutput {
  readonly part: Part;
  readonly childEnd: OwnedFd;
  readonly places: readonly (1 | 2)[];
}

/**
 * A pipe for each stream where records name it; one for both, in the order of writing, where they do not.
 * Each belongs to the caller before the next is opened, which may fail.
 */
export function* openLogOutputs(
  file: LogFile,
  isErrorWanted: boolean,
  optionsFor: (name: string) => OutputOptions,
): Generator<LogOutput, void> {
  const open = (name: "stdout" | "stderr", places: readonly (1 | 2)[]): LogOutput => {
    const options = optionsFor(name);
    const sink = Sink.into(new LogStream(file, name), name, options.log);
    return { ...relayOutput(sink, options), places };
  };
  const isOne = isErrorWanted && file.format === "raw";
  yield open("stdout", isOne ? [1, 2] : [1]);
  if (isErrorWanted && !isOne) yield open("stderr", [2]);
}
