/**
 * What an OCI runtime does for a container, as the container layer sees it.
 *
 * Every verb is one process of the runtime, with a deadline. Nothing here remembers a container: the
 * runtime keeps its own state under its root, the container layer keeps ours.
 *
 * Whose child is the container? `create`, `restore` and `exec` leave the container's process behind
 * as an orphan, which is reparented to this process (a subreaper). It may die before the call returns.
 * So the *caller* takes `children.hold()` before it calls one of these three, adopts the pid that it
 * gets with `children.adopt(pid)`, and only then lets go of the hold; otherwise the exit may be reaped as
 * a stranger's and is lost.
 */

/** What the runtime is asked to do, and the name under which a call is listed. */
export type Verb =
  | "create"
  | "restore"
  | "start"
  | "exec"
  | "kill"
  | "delete"
  | "pause"
  | "resume"
  | "update"
  | "checkpoint"
  | "features";

/** Which runtime, and what all its calls have in common. */
export interface RuntimeOptions {
  /** A name to look up in PATH, or an absolute path. */
  readonly command: string;
  /** The runtime's state directory, the namespace included: `<root>/<namespace>`. */
  readonly root: string;
  readonly systemdCgroup: boolean;
  /** Absolute; the working directory of every call. */
  readonly bundle: string;
  /** `NAME=value`; what must not reach a runtime is removed (see `environment.ts`). */
  readonly environment: readonly string[];
}

/** Bounds of one call. */
export interface CallOptions {
  /** Instead of the verb's own deadline. */
  readonly timeoutMs?: number | undefined;
  /** Kills the runtime process when aborted; the call then rejects with reason `canceled`. */
  readonly signal?: AbortSignal | undefined;
}

/** Descriptors lent until the call has returned, for 0, 1 and 2; undefined is /dev/null. */
export type LentStdio = readonly [number | undefined, number | undefined, number | undefined];

/** What the three verbs that create a process have in common. */
export interface ProcessRequest extends CallOptions {
  /** Absolute. An old file of this name is removed first. */
  readonly pidFile: string;
  /** Path of a listening socket to which the runtime sends the pty master; `stdio` is then unused. */
  readonly consoleSocket?: string | undefined;
  readonly stdio: LentStdio;
}

export interface CreateRequest extends ProcessRequest {
  readonly noPivot: boolean;
  readonly noNewKeyring: boolean;
}

export interface ExecRequest extends ProcessRequest {
  /** An OCI Process; written to a file for the runtime, and removed. */
  readonly processJson: string;
}

/** What CRIU is told, both at checkpoint and at restore. Absent means the runtime's default. */
export interface CriuOptions {
  /** Allowed: open TCP connections. */
  readonly openTcp?: boolean | undefined;
  /** Allowed: unix sockets with a peer outside. */
  readonly externalUnixSockets?: boolean | undefined;
  /** Allowed: a terminal ("shell job"). */
  readonly terminal?: boolean | undefined;
  readonly fileLocks?: boolean | undefined;
  readonly emptyNamespaces?: readonly string[] | undefined;
  /** What runtimes have no flags for: lines of CRIU's configuration (criu(8), CRIU_CONFIG_FILE). */
  readonly config?: readonly string[] | undefined;
  /** soft, full, strict, or ignore where the runtime knows it; "" is its default. */
  readonly cgroupsMode?: string | undefined;
}

/** Directories of a checkpoint; "" counts as absent. */
export interface ImagePaths {
  readonly imagePath: string;
  /** Where criu keeps its log and other work files. */
  readonly workPath?: string | undefined;
  /** An earlier checkpoint that this one builds on. */
  readonly parentPath?: string | undefined;
}

export interface RestoreRequest extends ProcessRequest, ImagePaths {
  readonly noPivot: boolean;
  readonly criu?: CriuOptions | undefined;
}

export interface CheckpointRequest extends CallOptions, ImagePaths {
  /** False stops the container once it is saved. */
  readonly leaveRunning: boolean;
  readonly criu?: CriuOptions | undefined;
}

/**
 * An OCI runtime. Every method rejects with `RuntimeError` (see `error.ts`) when the runtime refuses,
 * hangs beyond its deadline, is not found, or is aborted.
 */
export interface Runtime {
  /**
   * Creates the container, not yet running. Resolves to the pid of its init, to be adopted. When the
   * runtime was killed half-way, or left no pid, the container may exist: `delete` it with force. Even then
   * its empty cgroups may remain, because runtimes record them last.
   */
  create(id: string, request: CreateRequest): Promise<number>;
  /** Creates the container from a checkpoint, running. Resolves to its init's pid, to be adopted. */
  restore(id: string, request: RestoreRequest): Promise<number>;
  /** Lets the created container's program begin. */
  start(id: string, options?: CallOptions): Promise<void>;
  /** Starts another process in the container. Resolves to its pid, to be adopted. */
  exec(id: string, request: ExecRequest): Promise<number>;
  /** Signals init, or with `all` every process. `notFound` when it has ended or is unknown. */
  kill(id: string, signal: number, options: KillOptions): Promise<void>;
  /** Removes the runtime's state of the container; `force` kills it first. */
  delete(id: string, options: DeleteOptions): Promise<void>;
  pause(id: string, options?: CallOptions): Promise<void>;
  resume(id: string, options?: CallOptions): Promise<void>;
  /** Changes limits; `resources` is the JSON of an OCI LinuxResources. */
  update(id: string, resources: Uint8Array, options?: CallOptions): Promise<void>;
  checkpoint(id: string, request: CheckpointRequest): Promise<void>;
  /** The JSON of the OCI Features document. Old runtimes refuse (kind `other`). */
  features(options?: CallOptions): Promise<string>;
}

export interface KillOptions extends CallOptions {
  readonly all: boolean;
}

export interface DeleteOptions extends CallOptions {
  readonly force: boolean;
}
