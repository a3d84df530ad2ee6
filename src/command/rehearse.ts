/** `rehearse`: shows a running shim that this program can take it over. Not meant for people. */

import { takePart } from "../handoff/rehearsal.ts";
import { writeOutput } from "./invocation/stream.ts";

/** Answers on stdout and returns the exit code. Throws ShimError for a document that it cannot read. */
export function rehearse(): number {
  writeOutput(1, takePart());
  return 0;
}
