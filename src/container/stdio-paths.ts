/** The streams of a process as a client asks for them. */

import { flag, plain, record } from "../base/shape.ts";

/** Where the client wants the streams: paths or URIs as in the Task API, "" for none. */
export interface StdioPaths {
  readonly terminal: boolean;
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
}

export const stdioPathsState = record({
  terminal: flag,
  stdin: plain,
  stdout: plain,
  stderr: plain,
});
