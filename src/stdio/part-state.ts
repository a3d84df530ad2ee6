/** The parts of a process's stdio as plain data: `opened-stdio.ts` makes parts of it again. */

import { flag, list, maybe, plain, record, type Shaped, tagged, whole } from "../base/shape.ts";
import { childState } from "../linux/child.ts";
import { fifoHolderState } from "./fifo-holder.ts";
import { relayState } from "./relay.ts";
import { sinkState } from "./sink.ts";

/** What an `InputSource` holds. */
export const inputSourceState = record({
  reader: maybe(whole),
  holder: maybe(whole),
  isFifo: flag,
});
export type InputSourceState = Shaped<typeof inputSourceState>;

export const handedOutputFields = { name: plain, holder: fifoHolderState };

export const relayedOutputFields = {
  name: plain,
  source: maybe(whole),
  sink: sinkState,
  relay: relayState,
  hasEnded: flag,
};

export const relayedInputFields = {
  source: inputSourceState,
  sink: maybe(whole),
  relay: relayState,
};

/** Of a terminal whose master has come. */
export const terminalFields = {
  master: maybe(whole),
  /** Of formats before 3 of the handoff: a duplicate of the master, to type into. */
  masterForInput: maybe(whole),
  slave: maybe(whole),
  input: maybe(inputSourceState),
  sink: sinkState,
  output: relayState,
  typing: maybe(relayState),
  size: maybe(record({ columns: whole, rows: whole })),
  hasEnded: flag,
};

export const loggerFields = {
  path: plain,
  child: childState,
  readers: list(maybe(whole)),
  discarding: list(relayState),
  hasProcessExited: flag,
};

export const partState = tagged({
  handedOutput: handedOutputFields,
  relayedOutput: relayedOutputFields,
  relayedInput: relayedInputFields,
  terminal: terminalFields,
  logger: loggerFields,
});
export type PartState = Shaped<typeof partState>;
