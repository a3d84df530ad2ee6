/** What a layer needs of a log: levels, a sentence, and fields. Where it goes is `linux/log-sink.ts`. */

export type Fields = Readonly<Record<string, unknown>>;

/** Never blocks and never throws: a line that cannot be written is counted and dropped. */
export interface Logger {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
}

/** For tests, and for commands whose streams belong to somebody else. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
};
