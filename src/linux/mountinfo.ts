/** The list of mounts as text, /proc/PID/mountinfo (proc_pid_mountinfo(5)). Reads nothing. */

/** One line of it. */
export interface MountInfo {
  readonly id: number;
  readonly parentId: number;
  /** The directory of the file system that is mounted. */
  readonly root: string;
  readonly mountPoint: string;
  /** Options of this mount only: `ro`, `nosuid`, `relatime`. */
  readonly options: readonly string[];
  /** The peer group, when the mount is shared. */
  readonly peerGroup: number | undefined;
  /** The peer group from which the mount receives, when it is a slave. */
  readonly masterGroup: number | undefined;
  readonly isUnbindable: boolean;
  readonly type: string;
  readonly source: string;
  /** Options of the file system: `lowerdir=...`. */
  readonly superOptions: string;
}

/** Parses mountinfo; lines of any other form are skipped. */
export function parseMountInfo(text: string): MountInfo[] {
  return text
    .split("\n")
    .map(parseMountLine)
    .filter((info) => info !== undefined);
}

/** Undefined for a line of any other form. */
export function parseMountLine(line: string): MountInfo | undefined {
  const fields = line.split(" ");
  const separator = fields.indexOf("-", 6);
  const [id, parentId, , root, mountPoint, options] = fields;
  if (separator < 0 || root === undefined || mountPoint === undefined) return undefined;
  const [type, source, superOptions] = fields.slice(separator + 1);
  const tags = fields.slice(6, separator);
  const group = (prefix: string) => {
    const tag = tags.find((each) => each.startsWith(prefix));
    return tag === undefined ? undefined : Number(tag.slice(prefix.length));
  };
  return {
    id: Number(id),
    parentId: Number(parentId),
    root: unescaped(root),
    mountPoint: unescaped(mountPoint),
    options: options?.split(",") ?? [],
    peerGroup: group("shared:"),
    masterGroup: group("master:"),
    isUnbindable: tags.includes("unbindable"),
    type: unescaped(type ?? ""),
    source: unescaped(source ?? ""),
    superOptions: unescaped(superOptions ?? ""),
  };
}

/** Space, tab, newline and backslash come as a backslash and three octal digits. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-3][0-7]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** A path as the kernel writes it there. */
export function escapePath(path: string): string {
  return path.replaceAll(
    /[ \t\n\\]/g,
    (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`,
  );
}
