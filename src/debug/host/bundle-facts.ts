/** What the files of a bundle tell about its container, without asking anybody. */

import { readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { member, parseJson, textMember } from "../../base/json.ts";
import { findSocketPath } from "../../bundle/address.ts";
import { INIT_PID_FILE } from "../../bundle/bundle.ts";
import { type ExitRecord, loadExitRecord } from "../../bundle/exit-record.ts";
import { CONFIG_FILE, SANDBOX_ANNOTATION } from "../../bundle/spec.ts";
import { readText } from "../../linux/text-file.ts";

/** Annotations of CRI, by containerd. */
const SANDBOX_NAME = "io.kubernetes.cri.sandbox-name";
const SANDBOX_NAMESPACE = "io.kubernetes.cri.sandbox-namespace";

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
  /** As a wedge shim has recorded it. */
  readonly exit: ExitRecord | undefined;
  /** Whether it is where a manager keeps its bundles. */
  readonly isManaged: boolean;
}

/** Reads the bundle at `root` + `path`; undefined when there is neither config.json nor anything of a shim. */
export function readBundle(path: string, root = ""): BundleFacts | undefined {
  const read = (name: string) => readText(join(root + path, name));
  const config = parseJson(read(CONFIG_FILE));
  const socket = findSocketPath(read);
  if (config === undefined && socket === undefined) return undefined;
  const annotations = member(config, "annotations");
  const podName = textMember(annotations, SANDBOX_NAME);
  const podNamespace = textMember(annotations, SANDBOX_NAMESPACE);
  const podId = textMember(annotations, SANDBOX_ANNOTATION);
  const initPid = Number.parseInt(read(INIT_PID_FILE) ?? "", 10);
  return {
    path,
    id: basename(path),
    namespace: basename(dirname(path)),
    pod: podName === undefined ? podId : [podNamespace, podName].filter(Boolean).join("/"),
    podId,
    socket,
    initPid: initPid > 0 ? initPid : undefined,
    exit: loadExitRecord(root + path),
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
