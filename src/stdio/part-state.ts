/** The parts of a process's stdio as plain data, and back. */

import { type Shaped, tagged } from "../base/shape.ts";
import type { Children } from "../linux/children.ts";
import { HandedOutput, handedOutputFields } from "./handed-output.ts";
import { RelayedInput, relayedInputFields } from "./input.ts";
import { LoggerPart, loggerFields } from "./logger.ts";
import type { Part } from "./part.ts";
import { RelayedOutput, relayedOutputFields } from "./relayed-output.ts";
import type { RestoreContext } from "./sink.ts";
import { Terminal, terminalFields } from "./terminal.ts";

export const partState = tagged({
  handedOutput: handedOutputFields,
  relayedOutput: relayedOutputFields,
  relayedInput: relayedInputFields,
  terminal: terminalFields,
  logger: loggerFields,
});
export type PartState = Shaped<typeof partState>;

/** A part that continues a handed-over one, and what else it can be asked for. */
export interface RestoredPart {
  readonly part: Part;
  readonly input?: { closeStdin(): void };
  readonly terminal?: Terminal;
}

/** Moves no byte within this call. Throws SystemError for a descriptor that is not open. */
export function restorePart(
  state: PartState,
  context: RestoreContext & { readonly children: Children },
): RestoredPart {
  switch (state.kind) {
    case "handedOutput":
      return { part: HandedOutput.restore(state, context) };
    case "relayedOutput":
      return { part: RelayedOutput.restore(state, context) };
    case "relayedInput": {
      const input = RelayedInput.restore(state, context);
      return { part: input, input };
    }
    case "terminal": {
      const terminal = Terminal.restore(state, context);
      return { part: terminal, input: terminal, terminal };
    }
    case "logger":
      return { part: LoggerPart.restore(state, context) };
  }
}
