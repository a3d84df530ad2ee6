/** What the files of a bundle tell about its container, without asking anybody. */

import { readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { member, parseJson, textMember } from "../../base/json.ts";
import { findSocketPath } from "../../rpc/shim-address.ts";
import { readLink, readText } from "./process-table.ts";

/** Annotations of CRI, by containerd. */
const SANDBOX_ID = "io.kubernetes.cri.sandbox-id";
const SANDBOX_NAME = "io.kubernetes.cri.sandbox-name";
const SANDBOX_NAMESPACE = "io.kubernetes.cri.sandbox-namespace";

/** How init ended, as a wedge shim has recorded it. */
export interface RecordedExit {
  readonly pid: number;
  readonly status: number;
  readonly signal: number;
  readonly exitedAt: string;
  readonly isOomKilled: boolean;
}

/** A bundle. Paths are those of the mount namespace that it is in. */
export interface BundleFacts {
  readonly path: string;
  /** From the names of the directories, which are a manager's: NAMESPACE/ID. */
  readonly id: string;
  readonly namespace: string;
  /** "namespace/name" of the pod, or its id; undefined without one. */
  readonly pod: string | undefined;
  readonly podId: string | undefined;
  /** The socket of its shim; undefined when no shim was ever started for it. */
  readonly socket: string | undefined;
  /** As numbered in the shim's pid namespace; undefined before init exists. */
  readonly initPid: number | undefined;
  readonly exit: RecordedExit | undefined;
  /** Whether it is where a manager keeps its bundles. */
  readonly isManaged: boolean;
}

/** Reads the bundle at `root` + `path`; undefined when there is neither config.json nor anything of a shim. */
export function readBundle(path: string, root = ""): BundleFacts | undefined {
  const read = (name: string) => readText(join(root + path, name));
  const config = parseJson(read("config.json"));
  const socket = findSocketPath(read);
  if (config === undefined && socket === undefined) return undefined;
  const annotations = member(config, "annotations");
  const podName = textMember(annotations, SANDBOX_NAME);
  const podNamespace = textMember(annotations, SANDBOX_NAMESPACE);
  const podId = textMember(annotations, SANDBOX_ID);
  const initLines = read("init.pid")?.split("\n") ?? [];
  const initPid = Number.parseInt(initLines[0] ?? "", 10);
  return {
    path,
    id: basename(path),
    namespace: basename(dirname(path)),
    pod: podName === undefined ? podId : [podNamespace, podName].filter(Boolean).join("/"),
    podId,
    socket,
    initPid: initPid > 0 ? initPid : undefined,
    exit: readExit(join(root + path, "exit.json")) ?? parseExit(initLines[1]),
    isManaged: true,
  };
}

/** The bundles below a manager's state directory: STATE/NAMESPACE/ID. */
export function listBundles(state: string, root = ""): readonly string[] {
  return listDirectories(root + state).flatMap((namespace) =>
    listDirectories(join(root + state, namespace)).map((id) => join(state, namespace, id)),
  );
}

/** Names of directories; hidden ones are a manager's leftovers, about to be removed. */
function listDirectories(path: string): readonly string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
      .map(({ name }) => name)
      .sort();
  } catch {
    return []; // There is none: no such manager here.
  }
}

/** As a shim writes it: the text of a file, or the target of a link if it had no descriptor for a file. */
function readExit(path: string): RecordedExit | undefined {
  return parseExit(readText(path) ?? readLink(path));
}

function parseExit(text: string | undefined): RecordedExit | undefined {
  const document = parseJson(text);
  const pid = member(document, "pid");
  const status = member(document, "exitStatus");
  if (typeof pid !== "number" || typeof status !== "number") return undefined;
  return {
    pid,
    status,
    signal: Number(member(document, "signal") ?? 0),
    exitedAt: textMember(document, "exitedAt") ?? "",
    isOomKilled: member(document, "oomKilled") === true,
  };
}
