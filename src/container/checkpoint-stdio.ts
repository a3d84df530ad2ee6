/**
 * The client's FIFOs in a checkpoint.
 *
 * A FIFO that is handed over lies outside the container's mounts, where CRIU cannot look anything up: CRIU
 * must be told to leave it out, and at the restore to put the new client's stream in its place. Both go by
 * a key of mount and inode, so the image carries the keys of the streams. Pipes need none of this:
 * runtimes see to them.
 */

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf, ShimError } from "../base/error.ts";
import { member, parseJson, textMember } from "../base/json.ts";
import { fileIdentity } from "../linux/fd.ts";
import { readText } from "../linux/text-file.ts";

/** Next to CRIU's images; CRIU ignores it. */
const STREAMS_FILE = "wedge-streams.json";
const FORMAT_VERSION = 1;

/** A stream of the process: 1 or 2, by a descriptor of the same file. */
export interface HandedStream {
  readonly place: 1 | 2;
  /** Lent. */
  readonly fd: number;
}

/** Keys of files outside the container, by the stream that they are. */
export type StreamKeys = ReadonlyMap<1 | 2, string>;

/** The keys of the streams as they are now. */
export function streamKeys(streams: readonly HandedStream[]): StreamKeys {
  return new Map(
    streams.map(({ place, fd }) => {
      const { mountId, inode } = fileIdentity(fd);
      return [place, `file[${mountId.toString(16)}:${inode.toString(16)}]`];
    }),
  );
}

/** What CRIU is told at the checkpoint, a line each of its configuration. */
export function checkpointConfig(keys: StreamKeys): readonly string[] {
  return [...new Set(keys.values())].map((key) => `external ${key}`);
}

/** What CRIU is told at the restore: the stream given to the runtime takes the old one's place. */
export function restoreConfig(keys: StreamKeys): readonly string[] {
  // Both streams may be one file, which has one successor.
  const heirs = new Map([...keys].toReversed().map(([place, key]) => [key, place]));
  return [...heirs].map(([key, place]) => `inherit-fd fd[${place}]:${key}`);
}

/**
 * Writes the keys into the directory `image`, which is created if there are any; otherwise removes those of
 * an old image. Throws ShimError `invalidArgument` where that cannot be done.
 */
export function saveStreamKeys(image: string, keys: StreamKeys): void {
  try {
    const path = join(image, STREAMS_FILE);
    rmSync(path, { force: true });
    if (keys.size === 0) return;
    mkdirSync(image, { recursive: true, mode: 0o700 });
    const document = { version: FORMAT_VERSION, streams: Object.fromEntries(keys) };
    writeFileSync(path, JSON.stringify(document), { mode: 0o600, flag: "wx" });
  } catch (cause) {
    const message = `Cannot write a checkpoint to ${JSON.stringify(image)}: ${messageOf(cause)}`;
    throw new ShimError("invalidArgument", message, { cause });
  }
}

/**
 * The keys that `image` carries; none if there are none, or none that this version can read. What does not
 * look like a key is not taken for one: images come from elsewhere, and these lines configure CRIU.
 */
export function loadStreamKeys(image: string): StreamKeys {
  const keys = new Map<1 | 2, string>();
  // Another shim's image has no such file, nor has one of streams that were not FIFOs.
  const document = parseJson(readText(join(image, STREAMS_FILE)));
  if (member(document, "version") !== FORMAT_VERSION) return keys;
  for (const place of [1, 2] as const) {
    const key = textMember(member(document, "streams"), String(place));
    if (key !== undefined && /^file\[[0-9a-f]+:[0-9a-f]+\]$/.test(key)) keys.set(place, key);
  }
  return keys;
}
